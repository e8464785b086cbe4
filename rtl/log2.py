"""Gateware twin of hwq.numerics.log2."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, unsigned
from numpy.typing import NDArray

from hwq.numerics.log2 import Log2Spec
from hwq.rtl.pipeline import Pipeline, StreamUnit


class Log2(StreamUnit):
    """Code of a fraction on a logarithmic grid of base 2 or sqrt(2).

    code = max(r - offset, 0) with r = round(-steps_per_octave * log2(x / 2**in_bits)); the top
    code stands for zero, for codes that do not fit and for exponents above max_exponent.

    Latency 3 cycles; one code per cycle.

    Ports: `i` unsigned(in_bits), the fraction; `o` unsigned(bits), the code.

    A priority encoder, one barrel shift left, and per step of an octave one comparator.

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

        # stage 1: leading one; the last assignment wins, so the highest bit does
        lead = Signal(range(16))
        for k in range(spec.in_bits):
            with m.If(self.i.payload[k]):
                m.d.comb += lead.eq(k)
        x = Signal(spec.in_bits)
        left = Signal(range(16))
        with m.If(p.load[0]):
            m.d.sync += [x.eq(self.i.payload), left.eq(15 - lead)]

        # stage 2: normalised mantissa against the thresholds
        mantissa = Signal(16)
        m.d.comb += mantissa.eq(x << left)
        above = sum((mantissa >= threshold for threshold in spec.thresholds), start=0)
        level = Signal(range(2 * 16 + 1))
        zero = Signal()
        with m.If(p.load[1]):
            # r = steps * (in_bits - lead) - above, and lead = 15 - left
            m.d.sync += [
                level.eq(spec.steps_per_octave * (left + (spec.in_bits - 15)) - above),
                zero.eq(x == 0),
            ]

        # stage 3: offset and clamp
        code = Mux(level < spec.offset, 0, level - spec.offset) if spec.offset else level
        is_zero = zero | (level > spec.max_level)
        with m.If(p.load[2]):
            m.d.sync += self.o.payload.eq(Mux(is_zero, spec.zero_code, code))
        return m
