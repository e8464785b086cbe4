"""Gateware twin of hwq.numerics.log2."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from numpy.typing import NDArray

from hwq.numerics.log2 import Log2Spec
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.wide import register


def _normalised(m: Module, x: Value, distances: Sequence[int]) -> tuple[Value, Value]:
    """Return x without leading zeros, as far as `distances` go, and whether each was shifted."""
    moves: list[Value] = []
    for distance in distances:
        move, moved = Signal(name=f"move_{distance}"), Signal(len(x), name=f"moved_{distance}")
        m.d.comb += [move.eq(~x[-distance:].any()), moved.eq(Mux(move, x << distance, x))]
        moves, x = [move, *moves], moved
    return x, Cat(*moves)


class Log2(StreamUnit):
    """Code of a fraction on a logarithmic grid of base 2 or sqrt(2).

    code = max(r - offset, 0) with r = round(-steps_per_octave * log2(x / 2**in_bits)); the top
    code stands for zero, for codes that do not fit and for exponents above max_exponent.

    Latency 3 cycles; one code per cycle.

    Ports: `i` unsigned(in_bits), the fraction; `o` unsigned(bits), the code.

    Four shifts left, each by what is zero; per step of an octave one comparator.

    Parameters
    ----------
    spec : Log2Spec
        Widths and grid.
    """

    def __init__(self, spec: Log2Spec) -> None:
        self.spec = spec
        super().__init__(unsigned(spec.in_bits), unsigned(spec.bits))

    @property
    def latency_cycles(self) -> int:
        """Three registers."""
        return 3

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] in 0..2**in_bits-1 -> int64[n] codes."""
        return self.spec.compute(inputs).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the three stages."""
        m = Module()
        spec = self.spec
        p = Pipeline(m, self.i.valid, self.o.ready, depth=3)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stages 1 and 2: normalise, by 8, 4, 2 and 1 bits in turn wherever as many are zero
        x: Value = Cat(Const(0, 16 - spec.in_bits), self.i.payload)
        x, far = _normalised(m, x, (8, 4))
        x, far = register(m, p.load[0], x, "x"), register(m, p.load[0], far, "far")
        mantissa, near = _normalised(m, x, (2, 1))

        # stage 2: the mantissa against the thresholds
        below = sum((mantissa < threshold for threshold in spec.thresholds), start=0)
        level = Signal(range(2 * 16 + 1))
        with m.If(p.load[1]):
            m.d.sync += level.eq(spec.steps_per_octave * Cat(near, far) + below)

        # stage 3: offset and clamp; the level of 0 is 16 octaves, above the largest
        code = Mux(level < spec.offset, 0, level - spec.offset) if spec.offset else level
        with m.If(p.load[2]):
            m.d.sync += self.o.payload.eq(Mux(level > spec.max_level, spec.zero_code, code))
        return m
