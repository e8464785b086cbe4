"""Both operands of a matrix product as fused kernels take them."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._product import BLOCK, BYTE_DIGIT, WORD_DIGIT
from hwq.numerics._rung import GROUP, RUNGS, Rung
from hwq.numerics.accumulator import MAX_ACCUMULATOR, accumulator_bound
from hwq.numerics.gemm import best_rung, byte_run, pack
from hwq.numerics.unit import ceil_div
from hwq.quantizers.mac_form import MacForm
from hwq.runtime.fused.kernels import MAX_BYTES, MAX_WORDS, Left, Product


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


def prepare(
    left: LeftOperand, rung: Rung, shape: tuple[int, int], pair: int
) -> tuple[Left, NDArray[np.integer], int, int] | None:
    """Return the left operand, room for a block of it, longest byte run, what bytes have lost.

    Bytes hold values less the least one; words hold values whose sums fit accumulators. All else is
    cut into digits, as long as their sums fit; None where that is impossible.

    Parameters
    ----------
    left : LeftOperand
    rung : Rung
    shape : tuple of int
        Products in a sum, and largest magnitude of what is multiplied with.
    pair : int
        See `hwq.numerics.gemm.byte_run`.
    """
    (depth, largest), steps = shape, ceil_div(shape[0], GROUP)
    span, magnitude = left.high - left.low, max(-left.low, left.high)
    run, lost = byte_run(rung, min(span, (1 << BYTE_DIGIT) - 1), pair, steps), 0
    tables, weights = left.values.reshape(-1, 256), np.ones(1, np.int64)
    if run and span < 1 << BYTE_DIGIT:
        lost = left.low
        tables = tables - lost
    elif span < 1 << BYTE_DIGIT or (
        magnitude < 1 << WORD_DIGIT
        and accumulator_bound(depth, magnitude, largest) <= MAX_ACCUMULATOR
    ):
        run = 0
    else:
        room = (MAX_ACCUMULATOR // (depth * largest)).bit_length() - 1
        bits = min(BYTE_DIGIT if run else WORD_DIGIT, room)
        count = ceil_div(left.high.bit_length(), max(bits, 1))
        if left.low < 0 or count > (MAX_BYTES if run else MAX_WORDS):
            return None
        shifts = bits * np.arange(count, dtype=np.int64)
        tables = (tables >> shifts[:, np.newaxis]) & ((1 << bits) - 1)
        weights = np.int64(1) << shifts
    block = np.empty((BLOCK, GROUP * steps), np.uint8 if run else np.int16)
    return (left.low, tables.astype(np.int16), weights), block, run, lost


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
