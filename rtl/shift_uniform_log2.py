# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.shift_uniform_log2."""

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, unsigned
from amaranth.lib import wiring
from numpy.typing import NDArray

from hwq.numerics.shift_log2 import FRACTION_BITS
from hwq.numerics.shift_uniform_log2 import ShiftUniformLog2Spec
from hwq.rtl.log2 import Log2
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.requantize import Requantize

PROBABILITY = unsigned(FRACTION_BITS)
"""Shape of a softmax output."""


class ShiftUniformLog2(StreamUnit):
    """Logarithmic code of a probability after adding eta, a power of two.

    fraction = clamp(round(x * 2**(16-frac)), 0, 65535), sum = min(fraction + eta, 65535), then
    `Log2`.

    Latency 7 cycles; one code per cycle.

    Ports: `i` of shape x, the probability; `o` unsigned(bits), the code.

    `Requantize`, whose multiplier is a power of two and so nothing but wires and the rounding; an
    adder of one bit, which saturates; `Log2`.

    Parameters
    ----------
    spec : ShiftUniformLog2Spec
        Eta, format of x and grid.
    x : Shape
        Shape of the probability, at most 32 bits.
    """

    def __init__(self, spec: ShiftUniformLog2Spec, x: Shape = PROBABILITY) -> None:
        self.spec = spec
        self.requantize = Requantize(spec.fraction, acc_bits=x.width + (not x.signed))
        self.log2 = Log2(spec.log2)
        super().__init__(x, unsigned(spec.bits))

    @property
    def latency_cycles(self) -> int:
        """The two units, and one register of the adder between them."""
        return self.requantize.latency_cycles + 1 + self.log2.latency_cycles

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] in the range of x -> int64[n] codes."""
        return self.spec.compute(inputs)[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the two units and the adder."""
        m = Module()
        m.submodules.requantize = requantize = self.requantize
        m.submodules.log2 = log2 = self.log2
        p = Pipeline(m, requantize.o.valid, log2.i.ready, depth=1)
        # at most 65535 + 2**15 < 2**17; the bit above the fraction says that it saturates
        total = Signal(FRACTION_BITS + 1)
        m.d.comb += total.eq(requantize.o.payload + self.spec.eta)
        held = Signal(FRACTION_BITS)
        with m.If(p.load[0]):
            m.d.sync += held.eq(Mux(total[-1], (1 << FRACTION_BITS) - 1, total))
        m.d.comb += [
            requantize.i.valid.eq(self.i.valid),
            requantize.i.payload.eq(self.i.payload),
            self.i.ready.eq(requantize.i.ready),
            requantize.o.ready.eq(p.ready),
            log2.i.valid.eq(p.valid[0]),
            log2.i.payload.eq(held),
        ]
        wiring.connect(m, log2.o, wiring.flipped(self.o))
        return m
