"""A linear layer whose few large inputs take another way: split, multiplied, and joined again."""

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._jit import kernel
from hwq.numerics._product import BLOCK, multiply_rows
from hwq.numerics.accumulator import MAX_ACCUMULATOR, accumulator_bound
from hwq.runtime.fused.kernels import (
    Array,
    Codes,
    Following,
    Left,
    Product,
    copy_codes,
    follow,
    is_followed,
)
from hwq.runtime.fused.rescale import Rule, rescale_tokens, rescale_wide

Split = tuple[NDArray[np.int64], NDArray[np.int64], int, int, int]
"""mult and shift of every token, int64[T]; code of zero; threshold; largest code."""

Join = tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64], int]
"""B int8[K, N]; correction of every column, int64[N]; factor of every token, int64[T]; sum of
outliers' magnitudes up to which joined sums have 32 bits."""


def spare_magnitude(b: NDArray[np.int8], correction: NDArray[np.int64], top: int) -> int:
    """Return the sum of outliers' magnitudes up to which every joined sum has 32 bits.

    Parameters
    ----------
    b : int8[K, N]
    correction : int64[N]
    top : int
        Largest code.
    """
    largest = max(int(np.abs(b.astype(np.int64)).max(initial=0)), 1)  # -128 has none in 8 bits
    taken = accumulator_bound(len(b), top, largest) + int(np.abs(correction).max())
    return (MAX_ACCUMULATOR - taken) // largest


@kernel
def split_rows(
    x: NDArray[np.int16], split: Split, first: int, codes: Codes, side: NDArray[np.int16]
) -> int:
    """int16[R, K], tokens from `first` on -> `OutlierSplitSpec`'s codes and side values."""
    mults, shifts, zero, threshold, top = split
    saturated = 0
    for r in range(x.shape[0]):
        token = (first + r) % mults.size
        mult, shift = mults[token], shifts[token]
        half = (np.int64(1) << shift) >> 1
        for k in range(x.shape[1]):
            value = np.int64(x[r, k])
            wide = (value * mult + half) >> shift
            outside = (value > threshold) | (value < -threshold)
            value = wide if outside else wide + zero
            held = min(max(value, -32768 if outside else 0), 32767 if outside else top)
            saturated += held != value
            codes[r, k] = zero if outside else held
            side[r, k] = held if outside else 0
    return saturated


@kernel
def join_rows(acc: Array, side: NDArray[np.int16], join: Join) -> None:
    """int32 or int64[R, >= N] += correction + side int16[>= R, K] . B, skipping zeros."""
    weight, correction = join[0], join[1]
    for r in range(acc.shape[0]):
        row = acc[r]
        for j in range(weight.shape[1]):
            row[j] += correction[j]
        for k in range(weight.shape[0]):
            value = np.int32(side[r, k])
            if value != 0:
                for j in range(weight.shape[1]):
                    # |value * weight| <= 2**22
                    row[j] += np.int32(value * np.int32(weight[k, j]))


@kernel
def largest_sum(side: NDArray[np.int16], rows: int) -> int:
    """int16[>= R, K] -> the largest sum of magnitudes of a row."""
    largest = np.int64(0)
    for r in range(rows):
        total = np.int64(0)
        for k in range(side.shape[1]):
            total += abs(np.int64(side[r, k]))  # -2**15 has no magnitude in 16 bits
        largest = max(largest, total)
    return int(largest)


@kernel
def rescale_joined(
    acc: NDArray[np.int32],
    side: NDArray[np.int16],
    join: Join,
    first: int,
    rule: Rule,
    out: Array,
) -> int:
    """Join outliers and rescale: `OutlierJoinSpec` and `Epilogue` of tokens from `first` on."""
    factors, rows, columns = join[2], out.shape[0], join[0].shape[1]
    if largest_sum(side, rows) <= join[3]:
        join_rows(acc[:rows], side, join)
        return rescale_tokens(acc, factors, first, rule, out)
    total = np.empty((rows, columns), np.int64)
    total[:] = acc[:rows, :columns]
    join_rows(total, side, join)
    for r in range(rows):
        for j in range(columns):
            total[r, j] *= factors[(first + r) % factors.size]
    return rescale_wide(total, rule, out)


@kernel
def linear_with_outliers(
    x: NDArray[np.int16],
    parts: tuple[Split, Join],
    left: Left,
    product: Product,
    rule: Rule,
    following: Following,
    out: Array,
) -> tuple[int, int, int]:
    """int16[M, K] -> out int[M, N]: split, `linear`, and outliers joined to its accumulators."""
    columns, depth = out.shape[1], x.shape[1]
    rung, block, right = product
    acc = np.empty((BLOCK, right[1].size), np.int32)
    values = np.empty((BLOCK, columns), np.int16)
    codes, side = np.empty((BLOCK, depth), np.uint8), np.empty((BLOCK, depth), np.int16)
    encoded, rescaled, followed = 0, 0, 0
    for first in range(0, x.shape[0], BLOCK):
        last = min(first + BLOCK, x.shape[0])
        rows = last - first
        encoded += split_rows(x[first:last], parts[0], first, codes, side)
        copy_codes(codes[:rows], left, block)
        multiply_rows(rung, block, rows, right, acc)
        if is_followed(following):
            rescaled += rescale_joined(acc, side, parts[1], first, rule, values[:rows])
            followed += follow(values, following, first, out[first:last])
        else:
            rescaled += rescale_joined(acc, side, parts[1], first, rule, out[first:last])
    return encoded, rescaled, followed
