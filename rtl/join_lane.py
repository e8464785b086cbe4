"""Joined sums of one column: those of codes and of outliers, times the factor of their token."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.epilogue import ADDEND_BITS
from hwq.numerics.outlier_join import MAX_ROW_MULT, SUM_BITS, timing
from hwq.rtl.wide import part_products, total

JOIN_CYCLES = timing().latency_cycles
FACTOR_CYCLES = 2
"""From when sums come to when their token's factor must be there."""
FACTOR = unsigned(MAX_ROW_MULT.bit_length())
JOINED = signed(SUM_BITS + 1)


class JoinLane(wiring.Component):
    """joined = (codes + outliers - correction) * factor.

    Latency 4 cycles: add, subtract, multiply in parts, sum those; one joined sum per cycle.
    `correction` is that of the sums of the cycle before, and `factor` of FACTOR_CYCLES before.

    A multiplier of 35 x 12 bits and two adders.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "codes": In(signed(32)),
                "outliers": In(signed(32)),
                "correction": In(signed(ADDEND_BITS)),
                "factor": In(FACTOR),
                "joined": Out(JOINED),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the four stages; `OutlierJoinSpec` holds each of the three terms in 2**31."""
        m = Module()
        both = Signal(signed(33))
        corrected = Signal(signed(35))
        products = part_products(m, 1, corrected, self.factor, "product")
        m.d.sync += [
            both.eq(self.codes + self.outliers),
            corrected.eq(both - self.correction),
            self.joined.eq(total(products)),
        ]
        return m
