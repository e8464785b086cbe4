# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.shift_log2."""

import numpy as np
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from numpy.typing import NDArray

from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.rtl.log2 import Log2
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.requantize import Requantize
from hwq.rtl.uniform import FIXED16


class ShiftLog2(StreamUnit):
    """Logarithmic code of a number after adding a constant.

    fraction = clamp(((x + shift_add)*mult + 2**(shift-1)) >> shift, 0, 65535), then `Log2`.

    Latency 7 cycles; one code per cycle.

    Ports: `i` of shape x, the number; `o` unsigned(bits), the code.

    An adder of a constant, `Requantize` to 16 bits, `Log2`.

    Parameters
    ----------
    spec : ShiftLog2Spec
        Constant, multiplier, shift and grid.
    x : Shape
        Shape of the number, at most 32 bits.
    """

    def __init__(self, spec: ShiftLog2Spec, x: Shape = FIXED16) -> None:
        self.spec = spec
        # the sum is one bit longer than the longer of its summands, which have signs
        sum_bits = max(x.width + (not x.signed), spec.shift_add.bit_length() + 1) + 1
        self.requantize = Requantize(spec.fraction, acc_bits=sum_bits)
        self.log2 = Log2(spec.log2)
        super().__init__(x, unsigned(spec.bits))

    @property
    def latency_cycles(self) -> int:
        """One register of the adder, and the two units."""
        return 1 + self.requantize.latency_cycles + self.log2.latency_cycles

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] in the range of x -> int64[n] codes."""
        return self.spec.compute(inputs)[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the adder and the two units."""
        m = Module()
        m.submodules.requantize = requantize = self.requantize
        m.submodules.log2 = log2 = self.log2
        p = Pipeline(m, self.i.valid, requantize.i.ready, depth=1)
        total = Signal(signed(requantize.acc_bits))
        with m.If(p.load[0]):
            m.d.sync += total.eq(self.i.payload + self.spec.shift_add)
        m.d.comb += [
            self.i.ready.eq(p.ready),
            requantize.i.valid.eq(p.valid[0]),
            requantize.i.payload.eq(total),
        ]
        wiring.connect(m, requantize.o, log2.i)
        wiring.connect(m, log2.o, wiring.flipped(self.o))
        return m
