"""Gateware twin of halve."""

from amaranth.hdl import Module, signed

from hwq.rtl.pipeline import Pipeline, StreamUnit, saturated


class Halve(StreamUnit):
    """Half of a number, ties up. Latency 1 cycle; one result per cycle."""

    def __init__(self, spec):
        self.spec = spec
        super().__init__(signed(16), 8)

    @property
    def latency_cycles(self):
        """One register."""
        return 1

    def compute(self, inputs):
        """int64[n] -> int64[n]."""
        return self.spec.compute(inputs)[0].astype("int64")

    def elaborate(self, platform):
        """Return the only stage."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, depth=1)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[0])]
        with m.If(p.load[0]):
            half = (self.i.payload + 1) >> 1
            m.d.sync += self.o.payload.eq(saturated(half, self.o.payload.shape()))
        return m
