"""The multiplier of the row that a word belongs to, from a table of tokens side by side."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.requantize import MULT_BITS, SHIFT_BITS
from hwq.rtl.buffer import READ_CYCLES
from hwq.rtl.pipeline import delayed

MULTIPLIER = data.StructLayout({"mult": unsigned(MULT_BITS), "shift": unsigned(SHIFT_BITS)})
"""What a token has of its own."""


class TokenScale(wiring.Component):
    """Reads a token's multiplier beside each word of its row.

    Ports: `start`, and with it `first`, the table's first word; `asks` for a word of the buffer,
    which `ends` its row; `address` of the table, and `data` in the next cycle; `multiplier`, when
    the word that was asked for is there, READ_CYCLES later.

    Parameters
    ----------
    lanes : int
        Tokens in a word of the table.
    words : int
        Words of the memory that the table is in.
    """

    def __init__(self, lanes: int, words: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "start": In(1),
                "first": In(range(words)),
                "asks": In(1),
                "ends": In(1),
                "address": Out(range(words)),
                "data": In(data.ArrayLayout(MULTIPLIER, lanes)),
                "multiplier": Out(MULTIPLIER),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the place of the row's token."""
        m = Module()
        place = Signal(range(max(self.lanes, 2)))
        last = place == self.lanes - 1
        with m.If(self.start):
            m.d.sync += [self.address.eq(self.first), place.eq(0)]
        with m.Elif(self.asks & self.ends):
            m.d.sync += [self.address.eq(self.address + last), place.eq(Mux(last, 0, place + 1))]
        chosen = self.data[delayed(m, place, 1)]
        m.d.comb += self.multiplier.eq(delayed(m, chosen, READ_CYCLES - 1))
        return m
