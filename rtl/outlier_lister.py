# amaranth: UnusedElaboratable=no
"""The few outliers of many words, one by one."""

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.rtl.outlier_entries import ELEMENTS, ENTRY, QUEUE
from hwq.rtl.pipeline import delayed, half_up_shift, saturated
from hwq.rtl.token_scale import MULTIPLIER

STAGES = 4
"""Registers from a word of the queue to an entry: choose, scale, round, hold."""


class OutlierLister(wiring.Component):
    """Makes an entry of every element that is an outlier, in their order; then entries of zeros.

    value = clamp((x*mult + 2**(shift-1)) >> shift, -32768, 32767), of the multiplier that came with
    the word.

    A word takes a cycle, or one for each of its outliers, so that all words and all entries take at
    most a cycle each. What is beyond the list's room is dropped.

    Ports:

    * `start`, and with it `room`, the entries of the list;
    * `asked`: a word is on its way, which must not be while `full`; `i`: its `elements`, which of
      them are `outliers`, `multiplier`, whether it is the `last` of its row, and of `all`; `valid`;
    * `o`: `entry`; `keep`, which elements of a word of `lanes` it is; `valid`.

    A queue of words, a multiplier of 17 x 16 bits and a shifter.

    Parameters
    ----------
    lanes : int
        Elements of a word, a multiple of 4.
    element : Shape
        Shape of an element.
    """

    def __init__(self, lanes: int, element: Shape) -> None:
        require(lanes % ELEMENTS == 0, f"lanes must be a multiple of {ELEMENTS}, not {lanes}")
        self.lanes, self.element = lanes, element
        self.word = data.StructLayout(
            {
                "elements": data.ArrayLayout(element, lanes),
                "outliers": lanes,
                "multiplier": MULTIPLIER,
                "last": 1,
                "all": 1,
            }
        )
        o = {"entry": Out(ENTRY), "keep": Out(lanes), "valid": Out(1)}
        super().__init__(
            {
                "start": In(1),
                "room": In(16),
                "asked": In(1),
                "full": Out(1),
                "i": In(self.word),
                "valid": In(1),
                "o": Out(wiring.Signature(o)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the queue, what is next of its first word, and the stages behind it."""
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=self.word.size, depth=QUEUE)
        word = data.View(self.word, queue.r_data)
        promised, made, room = Signal(range(QUEUE + 1)), Signal(16), Signal(16)
        pads, leaves, makes = Signal(), Signal(), Signal()
        left, taken, lowest = (Signal(self.lanes, name=n) for n in ("left", "taken", "lowest"))
        m.d.comb += [
            self.full.eq(promised == QUEUE),
            queue.w_en.eq(self.valid),
            queue.w_data.eq(self.i),
            queue.r_en.eq(leaves),
            left.eq(word.outliers & ~taken),
            lowest.eq(left & (~left + 1)),
            leaves.eq(queue.r_rdy & ((left == lowest) | (made == room))),
            makes.eq((pads | (queue.r_rdy & left.any())) & (made != room)),
        ]
        with m.If(self.start):
            m.d.sync += [promised.eq(0), made.eq(0), room.eq(self.room), pads.eq(0), taken.eq(0)]
        with m.Else():
            m.d.sync += [
                promised.eq(promised + self.asked - leaves),
                made.eq(made + makes),
                taken.eq(Mux(leaves, 0, taken | Mux(makes, lowest, 0))),
                pads.eq(pads | (leaves & word.all)),
            ]
        token, channel = self._place(m, leaves, word)
        here = Mux(pads, 0, lowest)
        self._entry(m, word, here, Mux(pads, 0, token), Mux(pads, 0, channel))
        self._keep(m, makes)
        return m

    def _place(self, m: Module, leaves: Value, word: data.View) -> tuple[Value, Value]:
        """Return token and first channel of the queue's first word."""
        token, channel = Signal(16), Signal(16)
        with m.If(self.start):
            m.d.sync += [token.eq(0), channel.eq(0)]
        with m.Elif(leaves):
            m.d.sync += [
                token.eq(token + word.last),
                channel.eq(Mux(word.last, 0, channel + self.lanes)),
            ]
        return token, channel

    def _entry(
        self, m: Module, word: data.View, chosen: Value, token: Value, channel: Value
    ) -> None:
        """Stages 1 to 4 of the one lane that is `chosen`, or of zeros."""
        # stage 1: choose; there is one lane at most, so what any of them has is its element
        lanes = range(max(self.lanes, 2))
        elements = [Mux(chosen[k], element, 0) for k, element in enumerate(word.elements)]
        numbers = [Mux(chosen[k], Const(k, lanes), 0) for k in range(self.lanes)]
        x, multiplier, place = Signal(self.element), Signal(MULTIPLIER), Signal(16)
        m.d.sync += [
            x.eq(reduce(or_, elements)),
            multiplier.eq(word.multiplier),
            place.eq(channel + reduce(or_, numbers)),
        ]

        # stages 2 to 4: scale, round, hold
        product = Signal(signed(self.element.width + len(multiplier.mult) + 1))
        shift, wide = Signal.like(multiplier.shift), Signal.like(product)
        entry = self.o.entry
        m.d.sync += [
            product.eq(x * multiplier.mult),
            shift.eq(multiplier.shift),
            wide.eq(half_up_shift(product, shift)),
            entry.value.eq(saturated(wide, signed(16))),
        ]
        m.d.comb += [
            entry.token.eq(delayed(m, token, STAGES)),
            entry.channel.eq(delayed(m, place, STAGES - 1)),
        ]

    def _keep(self, m: Module, makes: Value) -> None:
        """Entries of a word of the list come one after another."""
        place = Signal(range(max(self.lanes // ELEMENTS, 2)))
        ends = place == self.lanes // ELEMENTS - 1
        with m.If(self.start):
            m.d.sync += place.eq(0)
        with m.Elif(self.o.valid):
            m.d.sync += place.eq(Mux(ends, 0, place + 1))
        m.d.comb += [
            self.o.valid.eq(delayed(m, makes, STAGES)),
            self.o.keep.eq(((1 << ELEMENTS) - 1) << (place * ELEMENTS)),
        ]
