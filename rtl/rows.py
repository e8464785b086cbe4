"""What units of whole rows share: words of lanes, reductions, and buffers that wait for them."""

from collections.abc import Callable, Sequence

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from hwq.rtl.pipeline import Pipeline, StreamUnit


def to_words(rows: NDArray[np.int64], lanes: int, fill: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n, length] -> int64[n*words, lanes], or int64[n*words] of one lane.

    The lanes that the last word of a row leaves unused come from `fill`, int64[n, lanes].
    """
    unused = -rows.shape[1] % lanes
    words = np.concatenate([rows, fill[:, :unused]], axis=1)
    return words.reshape(-1, lanes) if lanes > 1 else words.reshape(-1)


def row_words(rows: NDArray[np.int64], lanes: int, fill: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n, length] -> int64[n*words, lanes + 2]: the fields of `row_word`; see `to_words`."""
    words = -(-rows.shape[1] // lanes)
    last = np.tile(np.arange(words) == words - 1, len(rows)).astype(np.int64)
    full, part = (1 << lanes) - 1, (1 << (rows.shape[1] - (words - 1) * lanes)) - 1
    elements = to_words(rows, lanes, fill).reshape(-1, lanes)
    return np.column_stack([elements, np.where(last, part, full), last])


def to_rows(words: NDArray[np.int64], lanes: int, length: int) -> NDArray[np.int64]:
    """int64[n*words, lanes], or int64[n*words] of one lane -> int64[n, length]."""
    padded = length + -length % lanes
    return words.reshape(-1, padded)[:, :length]


def tree_stages(lanes: int) -> int:
    """Levels of a tree that makes one value of `lanes`."""
    return (lanes - 1).bit_length()


def largest(a: Value, b: Value) -> Value:
    """Return the larger one."""
    return Mux(a > b, a, b)


def row_word(element: ShapeLike, lanes: int) -> data.StructLayout:
    """Return a word of a row: its elements, which of them count, and whether it is the last."""
    return data.StructLayout(
        {"elements": data.ArrayLayout(element, lanes), "keep": lanes, "last": 1}
    )


def mark(m: Module, words: stream.Interface, source: stream.Interface, length: int) -> None:
    """Give the words of `source` to `words` as those of rows of `length` elements.

    Parameters
    ----------
    m : Module
    words : stream of `row_word`
        What is connected.
    source : stream of an array of elements
    length : int
        Elements of a row; the last word has what is left.
    """
    lanes = source.payload.shape().length
    count = -(-length // lanes)
    last, word = Signal(), Signal(range(max(count, 2)), name="word")
    m.d.comb += [
        last.eq(word == count - 1),
        words.payload.elements.eq(source.payload),
        words.payload.last.eq(last),
        words.payload.keep.eq(Mux(last, (1 << (length - (count - 1) * lanes)) - 1, -1)),
        words.valid.eq(source.valid),
        source.ready.eq(words.ready),
    ]
    with m.If(source.valid & source.ready):
        m.d.sync += word.eq(Mux(last, 0, word + 1))


def connect(m: Module, source: stream.Interface, sink: stream.Interface) -> None:
    """Let `source` send to `sink`; their payloads have the same bits."""
    m.d.comb += [
        Value.cast(sink.payload).eq(Value.cast(source.payload)),
        sink.valid.eq(source.valid),
        source.ready.eq(sink.ready),
    ]


def fork(m: Module, valid: ValueLike, ready: Signal, sinks: Sequence[stream.Interface]) -> None:
    """Let every payload go to all `sinks` once all are ready; the caller connects the payloads.

    No sink's ready may depend combinationally on its valid.
    """
    m.d.comb += ready.eq(Cat(*(sink.ready for sink in sinks)).all())
    m.d.comb += [sink.valid.eq(valid & ready) for sink in sinks]


class Spare(StreamUnit):
    """A register for a payload that has to wait, so that `i.ready` comes from a register as well.

    A receiver that stalls so reaches what is before it a cycle later: ready need not go through
    all units of a row within one cycle. Latency 0 cycles; one payload per cycle.

    Parameters
    ----------
    payload : ShapeLike
        Its shape.
    """

    def __init__(self, payload: ShapeLike) -> None:
        super().__init__(payload, payload)

    @property
    def latency_cycles(self) -> int:
        """What is at `i` is at `o`."""
        return 0

    def elaborate(self, platform: object) -> Module:
        """Return the register and the choice."""
        m = Module()
        payload = Value.cast(self.i.payload)
        kept = Signal.like(payload)
        waits = Signal()
        m.d.comb += [
            self.i.ready.eq(~waits),
            self.o.valid.eq(self.i.valid | waits),
            Value.cast(self.o.payload).eq(Mux(waits, kept, payload)),
        ]
        m.d.sync += waits.eq(self.o.valid & ~self.o.ready)
        with m.If(~waits):
            m.d.sync += kept.eq(payload)
        return m


class Reduce(StreamUnit):
    """One value per row: all elements of its words, combined.

    Latency ceil(log2 lanes) + 2 cycles from the last word; one word per cycle.

    Ports: `i` a structure of `elements`, an array of `lanes`, and `last`; `o` the result.

    A tree over the lanes, and one more operator and a register for the row so far.

    Parameters
    ----------
    element, result : Shape
        Shapes of an element and of the result; the latter must hold that of any part of a row.
    lanes : int
        Elements per word.
    combine : callable
        What makes one value of two.
    """

    def __init__(
        self, element: Shape, result: Shape, lanes: int, combine: Callable[[Value, Value], Value]
    ) -> None:
        self.lanes, self.combine = lanes, combine
        word = {"elements": data.ArrayLayout(element, lanes), "last": 1}
        super().__init__(data.StructLayout(word), result)

    @property
    def latency_cycles(self) -> int:
        """The tree, the row so far, and the result."""
        return tree_stages(self.lanes) + 2

    def elaborate(self, platform: object) -> Module:
        """Return the tree, the accumulator and the result."""
        m = Module()
        levels = tree_stages(self.lanes)
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=levels + 1)
        m.d.comb += self.i.ready.eq(front.ready)

        # stages 1 .. levels: pairs; an odd one out only waits
        values = [self.i.p.elements[lane] for lane in range(self.lanes)]
        last: Value = self.i.p.last
        for level in range(levels):
            pairs = [
                self.combine(*values[k : k + 2]) if k + 1 < len(values) else values[k]
                for k in range(0, len(values), 2)
            ]
            values = [
                Signal(pair.shape(), name=f"level_{level + 1}_{k}") for k, pair in enumerate(pairs)
            ]
            last_before, last = last, Signal(name=f"last_{level + 1}")
            with m.If(front.load[level]):
                m.d.sync += [value.eq(pair) for value, pair in zip(values, pairs, strict=True)]
                m.d.sync += last.eq(last_before)

        # stage levels + 1: the row so far
        row, first, ends = Signal.like(self.o.payload), Signal(init=1), Signal()
        arrives = front.valid[levels - 1] if levels else self.i.valid
        with m.If(arrives & front.load[levels]):
            m.d.sync += [
                row.eq(Mux(first, values[0], self.combine(row, values[0]))),
                first.eq(last),
                ends.eq(last),
            ]

        # stage levels + 2: only a whole row leaves
        back = Pipeline(m, front.valid[levels] & ends, self.o.ready, depth=1)
        m.d.comb += [ready.eq(back.ready | ~ends), self.o.valid.eq(back.valid[0])]
        with m.If(back.load[0]):
            m.d.sync += self.o.payload.eq(row)
        return m


KNOWN_CYCLES = 1
"""From when a row is known to its first word behind a buffer."""


class RowBuffer(wiring.Component):
    """Words of a row that wait until something is known of the whole row.

    Every word leaves together with its row's `known`, which is taken with the first one and kept,
    so that what computes it need not wait for the others. A whole row always fits, so the words
    never keep `known` from being computed.

    A word can leave 3 cycles after it came, and 1 after `known`; one word per cycle. What leaves
    comes from registers, as a memory gives its word late in a cycle; and so do both readies, so
    that a stall need not pass through all units of a row within one.

    Ports: `words`, a stream of structures of `word` and `last`; `known`, a stream; `o` a structure
    of `word`, `known` and `last`.

    A memory of words + latency + 2 words, and registers for what leaves and a `known` that waits.

    Parameters
    ----------
    word, known : ShapeLike
        Shapes of the payloads.
    words : int
        Words of the longest row.
    latency : int
        Cycles, at least 2, from a row's last word to its `known`; so many words of later rows
        arrive meanwhile.
    """

    def __init__(self, word: ShapeLike, known: ShapeLike, words: int, latency: int) -> None:
        self.depth = words + latency + 2
        marked = data.StructLayout({"word": word, "last": 1})
        joined = data.StructLayout({"word": word, "known": known, "last": 1})
        ports = {
            "words": In(stream.Signature(marked)),
            "known": In(stream.Signature(known)),
            "o": Out(stream.Signature(joined)),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Return the queue, the join, and the register behind it."""
        m = Module()
        word = Value.cast(self.words.payload)
        m.submodules.queue = queue = SyncFIFOBuffered(width=len(word), depth=self.depth)
        leaving = data.View(self.words.payload.shape(), queue.r_data)
        m.submodules.spare = known = Spare(self.known.payload.shape())
        connect(m, self.known, known.i)
        # whether what left last was the last of its row
        ended = Signal(init=1)
        there = Signal()
        p = Pipeline(m, there, self.o.ready, depth=1)
        transfer = there & p.ready
        m.d.comb += [
            queue.w_data.eq(word),
            queue.w_en.eq(self.words.valid),
            self.words.ready.eq(queue.w_rdy),
            there.eq(queue.r_rdy & (~ended | known.o.valid)),
            queue.r_en.eq(transfer),
            known.o.ready.eq(transfer & ended),
            self.o.valid.eq(p.valid[0]),
            self.o.p.last.eq(ended),
        ]
        with m.If(p.load[0]):
            m.d.sync += Value.cast(self.o.p.word).eq(Value.cast(leaving.word))
            with m.If(ended):
                m.d.sync += Value.cast(self.o.p.known).eq(Value.cast(known.o.payload))
        with m.If(transfer):
            m.d.sync += ended.eq(leaving.last)
        return m
