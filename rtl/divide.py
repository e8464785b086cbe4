"""Quotient of two integers, one bit per stage; part of the units that scale by a reciprocal."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require
from hwq.rtl.pipeline import Pipeline, StreamUnit


class Divide(StreamUnit):
    """quotient = floor(dividend / divisor), by restoring division.

    The quotient must fit: dividend < divisor * 2**quotient_bits.

    Latency quotient_bits cycles; one quotient per cycle.

    Ports: `i` a structure of `dividend`, unsigned(dividend_bits), and `divisor`,
    unsigned(divisor_bits); `o` unsigned(quotient_bits).

    Per stage one subtractor of divisor_bits + 1 bits.

    Parameters
    ----------
    dividend_bits, divisor_bits, quotient_bits : int
        Widths; the dividend is at least as wide as the quotient.
    """

    def __init__(self, dividend_bits: int, divisor_bits: int, quotient_bits: int) -> None:
        require(
            dividend_bits >= quotient_bits,
            f"dividend_bits must be at least {quotient_bits}, not {dividend_bits}",
        )
        self.divisor_bits, self.quotient_bits = divisor_bits, quotient_bits
        operands = {"dividend": unsigned(dividend_bits), "divisor": unsigned(divisor_bits)}
        super().__init__(data.StructLayout(operands), unsigned(quotient_bits))

    @property
    def latency_cycles(self) -> int:
        """One stage per bit of the quotient."""
        return self.quotient_bits

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, 2] -> int64[n]."""
        return inputs[:, 0] // inputs[:, 1]

    def elaborate(self, platform: object) -> Module:
        """Return the chain of stages."""
        m = Module()
        depth = self.quotient_bits
        p = Pipeline(m, self.i.valid, self.o.ready, depth)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage k: bit depth - k of the quotient. The remainder stays below the divisor, so one
        # more bit holds it with the next bit of the dividend. `rest` are the dividend's bits to
        # come above the quotient's bits so far
        divisor = self.i.p.divisor
        remainder, rest = self.i.p.dividend[depth:], self.i.p.dividend[:depth]
        for k in range(1, depth + 1):
            joined = Cat(rest[-1], remainder)
            fits = joined >= divisor
            new_divisor = Signal(self.divisor_bits, name=f"divisor_{k}")
            new_remainder = Signal(self.divisor_bits, name=f"remainder_{k}")
            new_rest = Signal(depth, name=f"rest_{k}")
            with m.If(p.load[k - 1]):
                m.d.sync += [
                    new_remainder.eq(Mux(fits, joined - divisor, joined)),
                    new_rest.eq(Cat(fits, rest[:-1])),
                    new_divisor.eq(divisor),
                ]
            divisor, remainder, rest = new_divisor, new_remainder, new_rest
        m.d.comb += self.o.payload.eq(rest)
        return m
