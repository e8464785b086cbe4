"""Gateware twin of hwq.numerics.twin_uniform."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed, unsigned
from numpy.typing import NDArray

from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit, clamped, half_up_shift
from hwq.rtl.uniform import FIXED16


class TwinUniform(StreamUnit):
    """Code of two uniform ranges a power of two apart, with a bit that selects.

    fine = (x*mult + 2**(shift-1)) >> shift, coarse = (x*mult + 2**(shift+m-1)) >> (shift+m);
    code = flag << (bits-1) | magnitude. The flag selects coarse: where fine does not fit and
    coarse is not 0 ("softmax"), or where x >= 0 ("gelu", with -fine elsewhere).

    Latency 3 cycles; one code per cycle.

    Ports: `i` of shape x, the number; `o` unsigned(bits), the code.

    One multiplier by a constant of 16 bits, two adders for the rounding, and three comparators
    with constants.

    Parameters
    ----------
    spec : TwinUniformSpec
        Multiplier, shift, ranges and code.
    x : Shape
        Shape of the number, at most 32 bits.
    """

    def __init__(self, spec: TwinUniformSpec, x: Shape = FIXED16) -> None:
        self.spec = spec
        super().__init__(x, unsigned(spec.bits))

    @property
    def latency_cycles(self) -> int:
        """Three registers."""
        return 3

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] in the range of x -> int64[n] codes."""
        return self.spec.compute(inputs)[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the three stages."""
        m = Module()
        spec = self.spec
        p = Pipeline(m, self.i.valid, self.o.ready, depth=3)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage 1: multiply; mult < 2**16, and one bit more for the sign of an unsigned x
        x = self.i.payload
        product = Signal(signed(len(x) + 17))
        positive = Signal()
        with m.If(p.load[0]):
            m.d.sync += [product.eq(x * spec.mult), positive.eq(~x[-1] if x.shape().signed else 1)]

        # stage 2: both ranges round x once; neither is longer than the product
        fine, coarse = Signal.like(product), Signal.like(product)
        above = Signal()
        with m.If(p.load[1]):
            m.d.sync += [
                fine.eq(half_up_shift(product, spec.shift)),
                coarse.eq(half_up_shift(product, spec.shift + spec.m)),
                above.eq(positive),
            ]

        # stage 3: select, saturate; -fine is not longer, as fine is no 2**(width-1)
        by_sign = spec.form == "gelu"
        flag = above if by_sign else (fine > spec.top) & (coarse > 0)
        magnitude = Signal.like(product)
        m.d.comb += magnitude.eq(Mux(flag, coarse, -fine if by_sign else fine))
        held = Signal(spec.bits - 1)
        m.d.comb += held.eq(clamped(magnitude, 0, spec.top))
        with m.If(p.load[2]):
            m.d.sync += self.o.payload.eq(Cat(held, flag))
        return m
