import operator
from collections.abc import Callable

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, Out
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.numerics.unit import UnitTiming
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.rows import (
    KNOWN_CYCLES,
    Reduce,
    RowBuffer,
    connect,
    fork,
    largest,
    mark,
    row_word,
    to_rows,
    to_words,
)


class Reduced(StreamUnit):
    """Rows of one length, marked and reduced."""

    def __init__(self, reduce: Reduce, words: int, compute: Callable[..., NDArray]) -> None:
        self.reduce, self.inputs_per_result, self.by_numpy = reduce, words, compute
        super().__init__(reduce.i.payload.shape()["elements"].shape, reduce.o.payload.shape())

    @property
    def latency_cycles(self) -> int:
        return self.reduce.latency_cycles

    @property
    def interval_cycles(self) -> int:
        return self.inputs_per_result

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        lanes = self.reduce.lanes
        return self.by_numpy(to_rows(inputs, lanes, lanes * self.inputs_per_result), axis=1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reduce = reduce = self.reduce
        lanes = reduce.lanes
        words = Component({"w": Out(stream.Signature(row_word(signed(8), lanes)))}).w
        mark(m, words, self.i, lanes * self.inputs_per_result)
        m.d.comb += [
            reduce.i.p.elements.eq(words.p.elements),
            reduce.i.p.last.eq(words.p.last),
            reduce.i.valid.eq(words.valid),
            words.ready.eq(reduce.i.ready),
        ]
        connect(m, reduce.o, self.o)
        return m


class FromLargest(StreamUnit):
    """What a row's words lack to the row's largest: all of a buffer, a fork and a reduction."""

    def __init__(self, words: int) -> None:
        self.inputs_per_result = self.outputs_per_result = words
        super().__init__(signed(8), unsigned(8))

    @property
    def latency_cycles(self) -> int:
        return 2 + KNOWN_CYCLES + self.outputs_per_result - 1

    @property
    def interval_cycles(self) -> int:
        return self.inputs_per_result

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = inputs.reshape(-1, self.inputs_per_result)
        return (rows.max(axis=1, keepdims=True) - rows).reshape(-1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.inputs_per_result
        m.submodules.reduce = reduce = Reduce(signed(8), signed(8), 1, largest)
        m.submodules.buffer = buffer = RowBuffer(signed(8), signed(8), words, latency=2)
        fork(m, self.i.valid, self.i.ready, [buffer.words, reduce.i])
        word, last = Signal(range(max(words, 2))), Signal()
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += word.eq(Mux(last, 0, word + 1))
        m.d.comb += [
            last.eq(word == words - 1),
            buffer.words.p.word.eq(self.i.payload),
            buffer.words.p.last.eq(last),
            reduce.i.p.elements[0].eq(self.i.payload),
            reduce.i.p.last.eq(last),
            buffer.known.payload.eq(reduce.o.payload),
            buffer.known.valid.eq(reduce.o.valid),
            reduce.o.ready.eq(buffer.known.ready),
            self.o.payload.eq(buffer.o.p.known - buffer.o.p.word),
            self.o.valid.eq(buffer.o.valid),
            buffer.o.ready.eq(self.o.ready),
        ]
        return m


def random_words(lanes: int, words: int) -> NDArray[np.int64]:
    rows = np.random.default_rng(0).integers(-128, 128, (40, lanes * words))
    return to_words(rows, lanes, rows)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 1), (3, 4), (8, 2), (13, 3)], ids=str)
def test_a_row_is_reduced_to_one_value(shape: tuple[int, int], check) -> None:
    lanes, words = shape
    timing = UnitTiming((lanes - 1).bit_length() + 2, words)
    inputs = random_words(lanes, words)
    check(Reduced(Reduce(signed(8), signed(8), lanes, largest), words, np.max), inputs, timing)
    check(
        Reduced(Reduce(signed(8), signed(14), lanes, operator.add), words, np.sum), inputs, timing
    )


@pytest.mark.parametrize("words", [1, 2, 3, 9])
def test_words_wait_for_their_row_without_losing_a_cycle(words: int, check) -> None:
    check(FromLargest(words), random_words(1, words), UnitTiming(words + 2, words))


def test_words_of_a_row_may_be_partly_used() -> None:
    rows, fill = np.arange(10).reshape(2, 5), -np.arange(6).reshape(2, 3)
    words = to_words(rows, 3, fill)
    assert_array_equal(words, [[0, 1, 2], [3, 4, 0], [5, 6, 7], [8, 9, -3]])
    assert_array_equal(to_rows(words, 3, 5), rows)
    assert_array_equal(to_words(rows, 1, fill), np.arange(10))
    assert_array_equal(to_rows(np.arange(10), 1, 5), rows)
