"""Gateware twin of hwq.numerics.requantize."""

import numpy as np
from amaranth.hdl import Const, Module, Shape, Signal, signed
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.requantize import ACC_BITS, RequantizeSpec
from hwq.numerics.rounding import half_up_shift as exact_half_up_shift
from hwq.rtl.pipeline import Pipeline, StreamUnit, saturated
from hwq.rtl.wide import part_products, total


class Requantize(StreamUnit):
    """Accumulator to code: one constant multiplier, one constant shift, one clamp.

    code = clamp(((acc*mult + 2**(shift-1)) >> shift) + zero_point) to the range of `out_bits`.

    Latency 3 cycles; one code per cycle.

    Ports: `i` signed(acc_bits), the accumulator; `o` the code, of `out_bits`, signed if the spec
    says so.

    One multiplier by a constant of 16 bits, an adder for the rounding and the zero point, two
    comparators.

    Parameters
    ----------
    spec : RequantizeSpec
        Multiplier, shift, zero point and code.
    acc_bits : int in 2..46
        Width of the accumulator.
    """

    def __init__(self, spec: RequantizeSpec, acc_bits: int = 32) -> None:
        require(2 <= acc_bits <= ACC_BITS, f"acc_bits must be in 2..{ACC_BITS}, not {acc_bits}")
        self.spec, self.acc_bits = spec, acc_bits
        super().__init__(signed(acc_bits), Shape(spec.out_bits, spec.signed))

    @property
    def latency_cycles(self) -> int:
        """Three registers."""
        return 3

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] of acc_bits bits -> int64[n] codes."""
        return self.spec.compute(inputs)[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the three stages."""
        m = Module()
        spec = self.spec
        p = Pipeline(m, self.i.valid, self.o.ready, depth=3)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage 1: multiply, in parts where the accumulator is wide
        multiplier = Const(spec.mult, 16)
        products = part_products(m, p.load[0], self.i.payload, multiplier, "product")

        # stage 2: sum, round half up, shift, zero point: one constant rounds and adds; monotone in
        # the accumulator, so that its two ends bound the result
        least, most = (
            exact_half_up_shift(acc * spec.mult, spec.shift) + spec.zero_point
            for acc in (-(1 << (self.acc_bits - 1)), (1 << (self.acc_bits - 1)) - 1)
        )
        wide = Signal(range(min(least, 0), max(most, 1) + 1))
        addend = Const((spec.zero_point << spec.shift) + ((1 << spec.shift) >> 1))
        with m.If(p.load[1]):
            m.d.sync += wide.eq(total([*products, (0, addend)]) >> spec.shift)

        # stage 3: saturate
        with m.If(p.load[2]):
            m.d.sync += self.o.payload.eq(saturated(wide, self.o.payload.shape()))
        return m
