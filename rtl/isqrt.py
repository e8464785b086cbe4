"""Gateware twin of hwq.numerics.isqrt."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from numpy.typing import NDArray

from hwq.numerics.isqrt import IsqrtSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit


class Isqrt(StreamUnit):
    """Integer square root: floor(sqrt(x)), by digit recurrence.

    One bit of the root per stage: the next two bits of x join the remainder, and 4*root + 1 is
    taken away if it fits.

    Latency root_bits = ceil(in_bits / 2) cycles; one root per cycle.

    Ports: `i` unsigned(in_bits), x; `o` unsigned(root_bits), the root.

    Per stage one subtractor, as wide as the root so far and two bits.

    Parameters
    ----------
    spec : IsqrtSpec
        Width of x.
    """

    def __init__(self, spec: IsqrtSpec) -> None:
        self.spec = spec
        super().__init__(unsigned(spec.in_bits), unsigned(spec.root_bits))

    @property
    def latency_cycles(self) -> int:
        """One stage per bit of the root."""
        return self.spec.root_bits

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] in 0..2**in_bits-1 -> int64[n] roots."""
        return self.spec.compute(inputs).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the chain of stages."""
        m = Module()
        depth = self.spec.root_bits
        p = Pipeline(m, self.i.valid, self.o.ready, depth)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage k: bit depth - k of the root; `rest` are the bits of x that are still to come
        root, remainder, rest = Cat(), Cat(), Signal(2 * depth)
        m.d.comb += rest.eq(self.i.payload)
        for k in range(1, depth + 1):
            # remainder <= 2*root < 2**k with the root of k - 1 bits: k + 2 bits hold the next two
            joined = Cat(rest[-2:], remainder)
            trial = Cat(1, 0, root)
            difference = Signal(k + 2, name=f"difference_{k}")
            fits = joined >= trial
            m.d.comb += difference.eq(Mux(fits, joined - trial, joined))
            # what is left is at most 2*root again, of a root of k bits: k + 1 bits
            new_root = Signal(k, name=f"root_{k}")
            new_remainder = Signal(k + 1, name=f"remainder_{k}")
            with m.If(p.load[k - 1]):
                m.d.sync += [new_root.eq(Cat(fits, root)), new_remainder.eq(difference)]
            root, remainder = new_root, new_remainder
            if k < depth:
                new_rest = Signal(len(rest) - 2, name=f"rest_{k}")
                with m.If(p.load[k - 1]):
                    m.d.sync += new_rest.eq(rest[:-2])
                rest = new_rest
        m.d.comb += self.o.payload.eq(root)
        return m
