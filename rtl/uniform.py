# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.uniform."""

import numpy as np
from amaranth.hdl import Module, Shape, signed
from amaranth.lib import wiring
from numpy.typing import NDArray

from hwq.numerics.uniform import UniformSpec
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.requantize import Requantize

FIXED16 = signed(16)
"""Shape of most fixed-point numbers."""


class Uniform(StreamUnit):
    """Affine integer code of a fixed-point number.

    code = clamp(((x*mult + 2**(shift-1)) >> shift) + zero_point) to the range of `bits`.

    Latency 3 cycles; one code per cycle.

    Ports: `i` of shape x, the number; `o` the code, of `bits`, signed if the spec says so.

    `Requantize`, as wide as x.

    Parameters
    ----------
    spec : UniformSpec
        Multiplier, shift, zero point and code.
    x : Shape
        Shape of the number.
    """

    def __init__(self, spec: UniformSpec, x: Shape = FIXED16) -> None:
        self.spec = spec
        # an unsigned number takes one more bit as a signed accumulator
        self.requantize = Requantize(spec.unit, acc_bits=x.width + (not x.signed))
        super().__init__(x, Shape(spec.bits, spec.signed))

    @property
    def latency_cycles(self) -> int:
        """Those of `Requantize`."""
        return self.requantize.latency_cycles

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] in the range of x -> int64[n] codes."""
        return self.spec.compute(inputs)[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the wires around `Requantize`."""
        m = Module()
        m.submodules.requantize = inner = self.requantize
        m.d.comb += [
            inner.i.valid.eq(self.i.valid),
            inner.i.payload.eq(self.i.payload),
            self.i.ready.eq(inner.i.ready),
        ]
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        return m
