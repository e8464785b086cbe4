"""Square blocks of elements, turned: rows in, columns out."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require


class Transposer(wiring.Component):
    """Takes `size` words of `size` elements, and gives their last elements, the ones before, ...

    Word k that leaves has element size - 1 - k of all words that came, in the order in which they
    came. The first one leaves `size` cycles after the first word of its block came; blocks may
    follow each other without a gap, and the words of one come without one.

    Ports: `word`, `valid`; `turned`.

    Two blocks of registers: one is filled while the other one empties.

    Parameters
    ----------
    size : int, 2 or more
        Words of a block, and elements of a word.
    element : Shape
    """

    def __init__(self, size: int, element: Shape) -> None:
        require(size >= 2, f"size must be at least 2, not {size}")
        self.size, self.element = size, element
        word = data.ArrayLayout(element, size)
        super().__init__({"word": In(word), "valid": In(1), "turned": Out(word)})

    def elaborate(self, platform: object) -> Module:
        """Return the two blocks."""
        m = Module()
        size = self.size
        count = Signal(range(size))
        # a word goes down one place with each that comes after it
        filled = [Signal.like(self.word, name=f"filled_{k}") for k in range(size - 1)]
        words = [self.word, *filled]
        leaving = [Signal.like(self.word, name=f"leaving_{k}") for k in range(size)]
        m.d.sync += [row[lane].eq(row[lane - 1]) for row in leaving for lane in range(1, size)]
        with m.If(self.valid):
            m.d.sync += [after.eq(before) for before, after in zip(words, filled, strict=False)]
            m.d.sync += count.eq(count + 1)
            with m.If(count == size - 1):
                m.d.sync += count.eq(0)
                m.d.sync += [
                    row.eq(word) for row, word in zip(leaving, reversed(words), strict=True)
                ]
        m.d.comb += [self.turned[k].eq(row[size - 1]) for k, row in enumerate(leaving)]
        return m
