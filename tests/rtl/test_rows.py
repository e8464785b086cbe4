import operator

import numpy as np
import pytest
from amaranth.hdl import Module, signed, unsigned
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.numerics.unit import UnitTiming
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.rows import Reduce, RowBuffer, fork, largest, to_rows, to_words


class Largest(Reduce):
    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        return to_rows(inputs, self.lanes, self.lanes * self.inputs_per_result).max(axis=1)


class Total(Reduce):
    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        return to_rows(inputs, self.lanes, self.lanes * self.inputs_per_result).sum(axis=1)


class FromLargest(StreamUnit):
    """What a row's words lack to the row's largest: all of a buffer, a fork and a reduction."""

    def __init__(self, words: int) -> None:
        self.inputs_per_result = self.outputs_per_result = words
        super().__init__(signed(8), unsigned(8))

    @property
    def latency_cycles(self) -> int:
        return 2 + self.outputs_per_result - 1

    @property
    def interval_cycles(self) -> int:
        return self.inputs_per_result

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = inputs.reshape(-1, self.inputs_per_result)
        return (rows.max(axis=1, keepdims=True) - rows).reshape(-1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.inputs_per_result
        m.submodules.reduce = reduce = Reduce(signed(8), signed(8), 1, words, largest)
        m.submodules.buffer = buffer = RowBuffer(signed(8), signed(8), words, latency=2)
        fork(m, self.i.valid, self.i.ready, [buffer.words, reduce.i])
        m.d.comb += [
            buffer.words.payload.eq(self.i.payload),
            reduce.i.payload[0].eq(self.i.payload),
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
    check(Largest(signed(8), signed(8), lanes, words, largest), inputs, timing)
    check(Total(signed(8), signed(14), lanes, words, operator.add), inputs, timing)


@pytest.mark.parametrize("words", [1, 2, 3, 9])
def test_words_wait_for_their_row_without_losing_a_cycle(words: int, check) -> None:
    check(FromLargest(words), random_words(1, words), UnitTiming(words + 1, words))


def test_words_of_a_row_may_be_partly_used() -> None:
    rows, fill = np.arange(10).reshape(2, 5), -np.arange(6).reshape(2, 3)
    words = to_words(rows, 3, fill)
    assert_array_equal(words, [[0, 1, 2], [3, 4, 0], [5, 6, 7], [8, 9, -3]])
    assert_array_equal(to_rows(words, 3, 5), rows)
    assert_array_equal(to_words(rows, 1, fill), np.arange(10))
    assert_array_equal(to_rows(np.arange(10), 1, 5), rows)
