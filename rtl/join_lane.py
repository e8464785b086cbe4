"""Joined sums of one column: those of codes and of outliers, times the factor of their token."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.epilogue import ADDEND_BITS
from hwq.numerics.outlier_join import MAX_ROW_MULT, SUM_BITS, timing

JOIN_CYCLES = timing().latency_cycles
FACTOR = unsigned(MAX_ROW_MULT.bit_length())
JOINED = signed(SUM_BITS + 1)


class JoinLane(wiring.Component):
    """joined = (codes + outliers - correction) * factor.

    Latency 3 cycles: add, subtract, multiply; one sum per cycle. `correction` is that of the sums
    of the cycle before, and `factor` of two cycles before.

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
        """Return the three registers; `OutlierJoinSpec` holds each of the three terms in 2**31."""
        m = Module()
        both = Signal(signed(33))
        total = Signal(signed(35))
        m.d.sync += [
            both.eq(self.codes + self.outliers),
            total.eq(both - self.correction),
            self.joined.eq(total * self.factor),
        ]
        return m
