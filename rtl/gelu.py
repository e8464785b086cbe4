"""Gateware twin of hwq.numerics.gelu."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from hwq.numerics.gelu import BUMP_FRAC, OUT_FRAC, SEGMENT_BITS, SEGMENTS, TABLE, GeluSpec
from hwq.rtl.horner import HornerStep
from hwq.rtl.pipeline import Pipeline, StreamUnit

GUARD = BUMP_FRAC - OUT_FRAC
# every accumulator of the table's parabolas is in -16,931 .. 178,235, see tests/rtl/test_gelu.py
ACC = signed(19)
C2, C1, C0 = signed(14), signed(18), signed(19)


class Gelu(StreamUnit):
    """GELU: y = x * Phi(x) = max(x, 0) - h(|x|), the bump h in parabolas of width 1/8.

    v = x << (12 - in_frac); segment = min(|v| >> 9, 40); u = |v| mod 2**9;
    y = max(v, 0) + ((2**7 - bump(segment, u)) >> 8), the bump by two steps of Horner's rule.

    Latency 6 cycles; one value per cycle.

    Ports: `i` signed(in_bits), x; `o` signed(in_bits + 12 - in_frac), y with 12 fraction bits.

    A memory of 41 segments of 51 bits, two multipliers of 19 x 9 bits.

    Parameters
    ----------
    spec : GeluSpec
        Format of x.
    """

    def __init__(self, spec: GeluSpec) -> None:
        self.spec = spec
        super().__init__(signed(spec.in_bits), signed(spec.in_bits + OUT_FRAC - spec.in_frac))

    @property
    def latency_cycles(self) -> int:
        """The look-up, two steps and the sum."""
        return 6

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] of in_bits bits -> int64[n] with 12 fraction bits."""
        return self.spec.compute(inputs).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the look-up, the two steps and the sum."""
        m = Module()
        wide = self.o.payload.shape()
        table = [dict(zip(("c2", "c1", "c0"), row, strict=True)) for row in TABLE.T.tolist()]
        m.submodules.table = memory = Memory(
            shape=data.StructLayout({"c2": C2, "c1": C1, "c0": C0}), depth=len(table), init=table
        )
        coefficients = memory.read_port()
        first = HornerStep(
            ACC,
            unsigned(SEGMENT_BITS),
            SEGMENT_BITS,
            side=data.StructLayout({"c0": C0, "v": wide}),
            saturate=False,
        )
        second = HornerStep(ACC, unsigned(SEGMENT_BITS), SEGMENT_BITS, side=wide, saturate=False)
        m.submodules += [first, second]

        # stage 1: magnitude; read the segment. |v| may be 2**(bits-1), which needs all bits
        value, v = Signal(wide), Signal(wide)
        magnitude, u = Signal(wide.width), Signal(SEGMENT_BITS)
        look_up = Pipeline(m, self.i.valid, first.i.ready, depth=1)
        m.d.comb += [
            self.i.ready.eq(look_up.ready),
            value.eq(self.i.payload << (OUT_FRAC - self.spec.in_frac)),
            magnitude.eq(Mux(value < 0, -value, value)),
            coefficients.addr.eq(
                Mux(magnitude >= SEGMENTS << SEGMENT_BITS, SEGMENTS, magnitude >> SEGMENT_BITS)
            ),
            coefficients.en.eq(look_up.load[0]),
        ]
        with m.If(look_up.load[0]):
            m.d.sync += [v.eq(value), u.eq(magnitude)]

        # stages 2 .. 5: c2*u + c1, then times u + c0
        m.d.comb += [
            first.i.valid.eq(look_up.valid[0]),
            first.i.p.acc.eq(coefficients.data.c2),
            first.i.p.x.eq(u),
            first.i.p.coefficient.eq(coefficients.data.c1),
            first.i.p.side.c0.eq(coefficients.data.c0),
            first.i.p.side.v.eq(v),
            second.i.valid.eq(first.o.valid),
            first.o.ready.eq(second.i.ready),
            second.i.p.acc.eq(first.o.p.acc),
            second.i.p.x.eq(first.o.p.x),
            second.i.p.coefficient.eq(first.o.p.side.c0),
            second.i.p.side.eq(first.o.p.side.v),
        ]

        # stage 6: the rectifier minus the rounded bump; x <= x*Phi(x) <= 0 left of 0, so y fits
        add = Pipeline(m, second.o.valid, self.o.ready, depth=1)
        m.d.comb += [second.o.ready.eq(add.ready), self.o.valid.eq(add.valid[0])]
        rectified = Mux(second.o.p.side < 0, 0, second.o.p.side)
        bump = ((1 << (GUARD - 1)) - second.o.p.acc) >> GUARD
        with m.If(add.load[0]):
            m.d.sync += self.o.payload.eq(rectified + bump)
        return m
