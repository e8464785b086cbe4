"""Gateware twin of hwq.numerics.add."""

import numpy as np
from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.numerics.add import AddSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit, saturated


class Add(StreamUnit):
    """Saturating sum of two numbers of one format.

    Latency 1 cycle; one sum per cycle.

    Ports: `i` a structure of `a` and `b`, and `o` their sum, all of the format's width and sign.

    One adder, a bit wider than the format, and a multiplexer.

    Parameters
    ----------
    spec : AddSpec
        The format.
    """

    def __init__(self, spec: AddSpec) -> None:
        self.spec = spec
        shape = Shape(spec.out.bits, spec.out.signed)
        super().__init__(data.StructLayout({"a": shape, "b": shape}), shape)

    @property
    def latency_cycles(self) -> int:
        """One register."""
        return 1

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, 2] -> int64[n] sums."""
        return self.spec.compute(inputs[:, 0], inputs[:, 1])[0].astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the only stage."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, depth=1)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[0])]
        # one bit more holds every sum
        total = Signal((self.i.p.a + self.i.p.b).shape())
        m.d.comb += total.eq(self.i.p.a + self.i.p.b)
        with m.If(p.load[0]):
            m.d.sync += self.o.payload.eq(saturated(total, self.o.payload.shape()))
        return m
