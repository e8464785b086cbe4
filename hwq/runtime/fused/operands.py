"""Both operands of a matrix product as fused kernels take them."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._product import BLOCK
from hwq.numerics._rung import GROUP, RUNGS, Rung
from hwq.numerics.accumulator import accumulator_bound
from hwq.numerics.gemm import best_rung, byte_run, pack
from hwq.numerics.unit import ceil_div
from hwq.quantizers.mac_form import MacForm
from hwq.runtime.fused.kernels import Left, Product

_BYTE, _WORD = 1 << 8, 1 << 15
"""Bases of digits: what an instruction takes of values that are not negative."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOperand:
    """What multiplies: codes, or the integers that they stand for.

    Parameters
    ----------
    low, high : int
        Least and most of what is multiplied.
    values : int64[256]
        What every code stands for; empty where that is the code itself.
    """

    low: int
    high: int
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, form: MacForm, signed: bool) -> Self:
        """Return the operand for codes of a form, as int8 or as uint8."""
        if form.pe.multiplies and form.pe.shifts == 1:
            low = -(1 << form.bits - 1) if signed else 0
            return cls(low, low + (1 << form.bits) - 1)
        values = form.value_table()
        codes = np.arange(256) & (values.size - 1)
        return cls(int(values.min()), int(values.max()), values[codes])

    def tables(self, words: bool, fits: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what is multiplied for every code, int64[P, 256], and weights int64[P].

        Where all values are codes there is no table. Where neither a byte holds values less `low`
        nor, if sums fit accumulators, a word the values themselves, they are cut into digits.
        """
        if self.values.size == 0:
            return np.zeros((0, 256), np.int64), np.ones(1, np.int64)
        if not words and self.high - self.low < _BYTE:
            return self.values[np.newaxis] - self.low, np.ones(1, np.int64)
        if words and fits and max(-self.low, self.high) < _WORD:
            return self.values[np.newaxis], np.ones(1, np.int64)
        base, digits, rest = _WORD if words else _BYTE, [], self.values
        while rest.any():
            rest, digit = np.divmod(rest, base)
            digits.append(digit)
        return np.stack(digits), base ** np.arange(len(digits), dtype=np.int64)


def prepare(
    left: LeftOperand, rung: Rung, shape: tuple[int, int], pair: int
) -> tuple[Left, NDArray[np.integer], int, int] | None:
    """Return the left operand, room for a block of it, longest byte run, what bytes have lost.

    None where values that are negative would have to be cut into digits.

    Parameters
    ----------
    left : LeftOperand
    rung : Rung
    shape : tuple of int
        Products in a sum, and largest magnitude of what is multiplied with.
    pair : int
        See `hwq.numerics.gemm.byte_run`.
    """
    depth, largest = shape
    steps = ceil_div(depth, GROUP)
    fits = accumulator_bound(depth, max(-left.low, left.high), largest) < 1 << 31
    as_word = left.values.size > 0 and fits and left.high - left.low >= _BYTE
    run = byte_run(rung, min(left.high - left.low, _BYTE - 1), pair, steps)
    # one pass of words is as fast as two of bytes
    words = run == 0 or (as_word and max(-left.low, left.high) < _WORD)
    if left.low < 0 and left.high - left.low >= _BYTE and not words:
        return None
    tables, weights = left.tables(words, fits)
    if weights.size > 1 and left.low < 0:
        return None
    lost = left.low if not words and weights.size == 1 else 0
    block = np.empty((BLOCK, GROUP * steps), np.int16 if words else np.uint8)
    return (left.low, tables.astype(np.int16), weights), block, 0 if words else run, lost


def prepare_constant(left: LeftOperand, b: NDArray[np.int8]) -> tuple[Left, Product] | None:
    """Return both operands, the right one being a constant int8[K, N]."""
    packed = pack(b)
    largest = int(np.abs(b.astype(np.int64)).max(initial=1))
    prepared = prepare(left, packed.rung, (b.shape[0], largest), packed.pair)
    if prepared is None:
        return None
    operand, block, run, lost = prepared
    right = packed.panels, packed.sums * np.int32(lost), run
    return operand, (packed.rung.tag, block, right)


def prepare_computed(
    left: LeftOperand, shape: tuple[int, int], bits: int, offset: int
) -> tuple[Left, Product, int] | None:
    """Return both operands, and the factor on column sums that sums start from.

    Parameters
    ----------
    left : LeftOperand
    shape : tuple of int
        K and N of the right operand, which kernels pack.
    bits : int
        Width of its codes.
    offset : int
        What counts as zero in the left operand.
    """
    rung = next(rung for rung in RUNGS if rung.name == best_rung())
    prepared = prepare(left, rung, (shape[0], 1 << bits - 1), 1 << bits)
    if prepared is None or (offset and prepared[0][2].size > 1):
        return None
    operand, block, run, lost = prepared
    panels = np.empty(
        (ceil_div(shape[1], rung.columns), ceil_div(shape[0], GROUP), rung.columns, GROUP), np.int8
    )
    start = np.zeros(panels.shape[0] * rung.columns, np.int32)
    return operand, (rung.tag, block, (panels, start, run)), lost - offset
