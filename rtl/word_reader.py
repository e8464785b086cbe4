"""Elements out of words that are asked for ahead."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require


def words_signature(lanes: int) -> wiring.Signature:
    """Return `ask`, high for a cycle, and some cycles later `valid`, and `elements` of a word."""
    elements = data.ArrayLayout(signed(17), lanes)
    return wiring.Signature({"ask": Out(1), "valid": In(1), "elements": In(elements)})


class WordReader(wiring.Component):
    """Gives the 16-bit elements of words one after another, and asks for the next word in time.

    Ports:

    * `start`: forgets all, and begins to ask;
    * `words` (`words_signature`): one word is on its way at a time;
    * `valid`, `elements`: the next `per` of them, 16 bits each; `take` when they are used.

    Two words of registers.

    Parameters
    ----------
    lanes : int
        Elements of a word.
    per : int
        A divisor of lanes.
    """

    def __init__(self, lanes: int, per: int) -> None:
        require(lanes % per == 0, f"per must be a divisor of {lanes}, not {per}")
        self.lanes, self.per = lanes, per
        super().__init__(
            {
                "start": In(1),
                "words": Out(words_signature(lanes)),
                "valid": Out(1),
                "elements": Out(data.ArrayLayout(16, per)),
                "take": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return both words and what moves them up."""
        m = Module()
        here, behind = (Signal(16 * self.lanes, name=name) for name in ("here", "behind"))
        runs, is_behind, comes = Signal(), Signal(), Signal()
        turn = Signal(range(max(self.lanes // self.per, 2)))
        empties = Signal()
        m.d.comb += [
            empties.eq(self.take & (turn == self.lanes // self.per - 1)),
            self.words.ask.eq(runs & ~self.start & ~is_behind & ~comes),
            Value.cast(self.elements).eq(here.word_select(turn, 16 * self.per)),
        ]
        word = Cat(element[:16] for element in self.words.elements)
        with m.If(self.take):
            m.d.sync += turn.eq(Mux(empties, 0, turn + 1))
        with m.If(self.words.ask | self.words.valid):
            m.d.sync += comes.eq(~self.words.valid)
        with m.If(self.words.valid):
            m.d.sync += [behind.eq(word), is_behind.eq(1)]
        with m.If(empties | ~self.valid):
            # what is behind moves up, or what has just come
            m.d.sync += [
                here.eq(Mux(self.words.valid, word, behind)),
                self.valid.eq(is_behind | self.words.valid),
                is_behind.eq(0),
            ]
        with m.If(self.start):
            m.d.sync += [x.eq(0) for x in (turn, self.valid, is_behind, comes)] + [runs.eq(1)]
        return m
