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


def last_word(m: Module, words: int, transfer: ValueLike) -> Value:
    """Count transfers; return whether the next one is a row's last of `words`."""
    if words == 1:
        return Value.cast(1)
    word = Signal(range(words), name="word")
    last = word == words - 1
    with m.If(transfer):
        m.d.sync += word.eq(Mux(last, 0, word + 1))
    return last


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


class Reduce(StreamUnit):
    """One value per row: all elements of its words, combined.

    Latency ceil(log2 lanes) + 2 cycles from the last word; one word per cycle.

    Ports: `i` an array of `lanes` elements; `o` the result.

    A tree over the lanes, and one more operator and a register for the row so far.

    Parameters
    ----------
    element, result : Shape
        Shapes of an element and of the result; the latter must hold that of any part of a row.
    lanes, words : int
        Elements per word, words per row.
    combine : callable
        What makes one value of two.
    """

    def __init__(
        self,
        element: Shape,
        result: Shape,
        lanes: int,
        words: int,
        combine: Callable[[Value, Value], Value],
    ) -> None:
        self.lanes, self.combine = lanes, combine
        self.inputs_per_result = words
        super().__init__(data.ArrayLayout(element, lanes), result)

    @property
    def latency_cycles(self) -> int:
        """The tree, the row so far, and the result."""
        return tree_stages(self.lanes) + 2

    @property
    def interval_cycles(self) -> int:
        """One word per cycle."""
        return self.inputs_per_result

    def elaborate(self, platform: object) -> Module:
        """Return the tree, the accumulator and the result."""
        m = Module()
        levels = tree_stages(self.lanes)
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=levels + 1)
        m.d.comb += self.i.ready.eq(front.ready)

        # stages 1 .. levels: pairs; an odd one out only waits
        values = [self.i.payload[lane] for lane in range(self.lanes)]
        for level in range(levels):
            pairs = [
                self.combine(*values[k : k + 2]) if k + 1 < len(values) else values[k]
                for k in range(0, len(values), 2)
            ]
            values = [
                Signal(pair.shape(), name=f"level_{level + 1}_{k}") for k, pair in enumerate(pairs)
            ]
            with m.If(front.load[level]):
                m.d.sync += [value.eq(pair) for value, pair in zip(values, pairs, strict=True)]

        # stage levels + 1: the row so far
        row, first, ends = Signal.like(self.o.payload), Signal(init=1), Signal()
        arrives = front.valid[levels - 1] if levels else self.i.valid
        transfer = arrives & front.load[levels]
        last = last_word(m, self.inputs_per_result, transfer)
        with m.If(transfer):
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


class RowBuffer(wiring.Component):
    """Words of a row that wait until something is known of the whole row.

    Every word leaves together with its row's `known`, which is taken with the last one. A whole
    row always fits, so the words never keep `known` from being computed.

    A word can leave 2 cycles after it came; one word per cycle.

    Ports: `words` and `known`, the two streams; `o` a structure of `word`, `known` and `last`.

    A memory of words + latency + 2 words.

    Parameters
    ----------
    word, known : ShapeLike
        Shapes of the payloads.
    words : int
        Words per row.
    latency : int
        Cycles, at least 2, from a row's last word to its `known`; so many words of later rows
        arrive meanwhile.
    """

    def __init__(self, word: ShapeLike, known: ShapeLike, words: int, latency: int) -> None:
        self.row, self.depth = words, words + latency + 2
        joined = data.StructLayout({"word": word, "known": known, "last": 1})
        ports = {
            "words": In(stream.Signature(word)),
            "known": In(stream.Signature(known)),
            "o": Out(stream.Signature(joined)),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Return the queue and the join."""
        m = Module()
        word = Value.cast(self.words.payload)
        m.submodules.queue = queue = SyncFIFOBuffered(width=len(word), depth=self.depth)
        transfer = self.o.valid & self.o.ready
        last = last_word(m, self.row, transfer)
        m.d.comb += [
            queue.w_data.eq(word),
            queue.w_en.eq(self.words.valid),
            self.words.ready.eq(queue.w_rdy),
            Value.cast(self.o.p.word).eq(queue.r_data),
            Value.cast(self.o.p.known).eq(Value.cast(self.known.payload)),
            self.o.p.last.eq(last),
            self.o.valid.eq(queue.r_rdy & self.known.valid),
            queue.r_en.eq(transfer),
            self.known.ready.eq(transfer & last),
        ]
        return m
