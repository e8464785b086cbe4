# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.activation."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from numpy.typing import NDArray

from hwq.numerics.activation import (
    GUARD,
    MIN_IN_FRAC,
    ONE,
    OUT_FRAC,
    ActivationSpec,
    coefficients,
)
from hwq.rtl.horner import step_sum
from hwq.rtl.pipeline import Pipeline, StreamUnit, holding, settled
from hwq.rtl.wide import carried, register


class ActivationCore(StreamUnit):
    """An activation function of any format: an asymptote, less a bump h of |x| in parabolas.

    v = x << up; segment = min(|v| >> segment_bits, segments);
    u = |v| mod 2**segment_bits; y = max(v, 0) + ((2**7 - h(segment, u)) >> 8), the bump by two
    steps of Horner's rule. A sigmoid has 1 - h and h, by the sign of v, rounded alike.

    Latency 6 cycles; one value per cycle.

    Ports: `i` signed(in_bits), x; `o` y with 12 fraction bits, as wide as the finest format needs;
    `settings`: `up`, 12 less the fraction bits of x.

    A memory of the segments, of 41 words of 50 bits for "gelu", two multipliers of
    acc x segment_bits, and a shifter.

    Parameters
    ----------
    function : str
        A key of `hwq.numerics.activation.FUNCTIONS`.
    in_bits : int in 2..20
        Width of x.
    min_frac : int in 8..12
        Fewest fraction bits of x.
    """

    def __init__(self, function: str, in_bits: int, min_frac: int = MIN_IN_FRAC) -> None:
        self.function, self.in_bits, self.min_frac = function, in_bits, min_frac
        self.widest = ActivationSpec(function, min_frac, in_bits)
        self.table = coefficients(function)
        # no accumulator is wider than its coefficients, see tests/rtl/test_activation.py
        self.acc = holding(int(abs(self.table).max()))
        up = data.StructLayout({"up": range(max(OUT_FRAC - min_frac, 1) + 1)})
        out = signed(self.widest.out.bits)
        super().__init__(signed(in_bits), out, {"settings": In(up)})

    @property
    def latency_cycles(self) -> int:
        """Magnitude and look-up; product, sum, product; sums and the asymptote."""
        return 6

    def settings_of(self, spec: ActivationSpec) -> dict[str, int]:
        """Return the settings for x of a format; `SpecError` for one that is too coarse."""
        return settled(self.settings.shape(), up=OUT_FRAC - spec.in_frac)

    def _memory(self) -> Memory:
        """Return the coefficients, a word per segment and one beyond."""
        names = ("c2", "c1", "c0")
        widest = abs(self.table).max(axis=1).tolist()
        shapes = {name: holding(most) for name, most in zip(names, widest, strict=True)}
        return Memory(
            shape=data.StructLayout(shapes),
            depth=self.table.shape[1],
            init=[dict(zip(names, row, strict=True)) for row in self.table.T.tolist()],
        )

    def elaborate(self, platform: object) -> Module:
        """Return the look-up, the two steps and the sum."""
        m = Module()
        curve, memory = self.widest.curve, self._memory()
        m.submodules.table = memory
        coefficients = memory.read_port()
        wide = signed(self.in_bits + OUT_FRAC - self.min_frac)
        p = Pipeline(m, self.i.valid, self.o.ready, depth=self.latency_cycles)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage 1: the magnitude; it may be 2**(bits-1), which needs all bits
        value = Signal(wide)
        m.d.comb += value.eq(self.i.payload << self.settings.up)
        magnitude = register(
            m, p.load[0], Mux(value < 0, -value, value), "magnitude", unsigned(wide.width)
        )

        # stage 2: read the segment
        m.d.comb += [
            coefficients.addr.eq(
                Mux(magnitude >= curve.farthest, curve.segments, magnitude >> curve.segment_bits)
            ),
            coefficients.en.eq(p.load[1]),
        ]
        u = register(m, p.load[1], magnitude, "u", unsigned(curve.segment_bits))
        c2, c1, c0 = (coefficients.data[name] for name in ("c2", "c1", "c0"))

        # stages 3 to 5: c2*u + c1, then times u
        product = register(m, p.load[2], c2 * u, "product_2")
        acc = step_sum(product, register(m, p.load[2], c1, "c1"), curve.segment_bits)
        first = register(m, p.load[3], acc, "acc", self.acc)
        u_4 = carried(m, p.load[2:4], u, "u_later")
        product = register(m, p.load[4], first * u_4, "product_1")

        # stage 6: plus c0; the rounded bump from the asymptote. x <= y <= 0 left of 0, and
        # 0 <= y <= 1 of a step, so y fits
        v = carried(m, p.load[:5], value, "v")
        bump = Signal(self.acc)
        c0_5 = carried(m, p.load[2:5], c0, "c0")
        m.d.comb += bump.eq(step_sum(product, c0_5, curve.segment_bits))
        below, half = v < 0, 1 << (GUARD - 1)
        asymptote = Mux(below, 0, ONE if curve.step else v)
        inward = Mux(below, half + bump, half - bump) if curve.step else half - bump
        with m.If(p.load[5]):
            m.d.sync += self.o.payload.eq(asymptote + (inward >> GUARD))
        return m


class Activation(StreamUnit):
    """An activation function of one format, which `ActivationCore` computes.

    Ports: `i` signed(in_bits), x; `o` the signed format `spec.out`, y with 12 fraction bits.

    Parameters
    ----------
    spec : ActivationSpec
        Function, and format of x.
    """

    def __init__(self, spec: ActivationSpec) -> None:
        self.spec = spec
        self.core = ActivationCore(spec.function, spec.in_bits, spec.in_frac)
        super().__init__(signed(spec.in_bits), signed(spec.out.bits))

    @property
    def latency_cycles(self) -> int:
        """That of the core."""
        return self.core.latency_cycles

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] of in_bits bits -> int64[n] with 12 fraction bits."""
        return self.spec.compute(inputs).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the core."""
        m = Module()
        m.submodules.core = core = self.core
        m.d.comb += core.settings.up.eq(core.settings_of(self.spec)["up"])
        wiring.connect(m, wiring.flipped(self.i), core.i)
        wiring.connect(m, core.o, wiring.flipped(self.o))
        return m
