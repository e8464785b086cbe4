"""Gateware twin of hwq.numerics.mul."""

import numpy as np
from amaranth.hdl import Module, Shape, Signal, signed
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.mul import OPERAND_BITS, MulSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit, half_up_shift, saturated


class Mul(StreamUnit):
    """Product of two numbers, rounded half up and saturated: clamp((a*b + 2**(shift-1)) >> shift).

    Latency 3 cycles; one product per cycle.

    Ports: `i` a structure of `a` and `b`, signed(bits); `o` in the format `spec.out`.

    One multiplier, an adder for the rounding, two comparators.

    Parameters
    ----------
    spec : MulSpec
        The shift, and the format of the product.
    bits : int in 2..16
        Width of the operands.
    """

    def __init__(self, spec: MulSpec, bits: int = OPERAND_BITS) -> None:
        require(2 <= bits <= OPERAND_BITS, f"bits must be in 2..{OPERAND_BITS}, not {bits}")
        self.spec, self.bits = spec, bits
        operands = data.StructLayout({"a": signed(bits), "b": signed(bits)})
        super().__init__(operands, Shape(spec.out.bits, spec.out.signed))

    @property
    def latency_cycles(self) -> int:
        """Three registers."""
        return 3

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, 2] -> int64[n] products."""
        return self.spec.compute(inputs[:, 0], inputs[:, 1])[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the three stages."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, depth=3)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage 1: multiply; the largest is 2**(2*bits - 2), of both least operands
        product = Signal(signed(2 * self.bits))
        with m.If(p.load[0]):
            m.d.sync += product.eq(self.i.p.a * self.i.p.b)

        # stage 2: round half up; what is rounded up needs no more bits than the product
        wide = Signal(signed(2 * self.bits))
        with m.If(p.load[1]):
            m.d.sync += wide.eq(half_up_shift(product, self.spec.shift))

        # stage 3: saturate
        with m.If(p.load[2]):
            m.d.sync += self.o.payload.eq(saturated(wide, self.o.payload.shape()))
        return m
