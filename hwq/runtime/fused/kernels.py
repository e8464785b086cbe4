"""Fused kernels: a block of rows goes from codes to codes while it is in the cache."""

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._jit import kernel
from hwq.numerics._product import (
    BLOCK,
    BYTE_DIGIT,
    WORD_DIGIT,
    copy_digits,
    copy_entries,
    copy_operand,
    multiply_rows,
)
from hwq.numerics.layer_norm import Affine, layer_norm_rows
from hwq.runtime.fused.lookup import Codes as CodeTable
from hwq.runtime.fused.lookup import look_up, look_up_codes
from hwq.runtime.fused.rescale import (
    COLUMNS,
    Rule,
    rescale_columns,
    rescale_rows,
    rescale_wide,
)

MAX_BYTES, MAX_WORDS = 4, 2
"""Digits that one number of 32 bits holds."""

Array = NDArray[np.integer]
Codes = NDArray[np.uint8]
Left = tuple[int, NDArray[np.int16], NDArray[np.int64]]
"""Least code; every digit of what is multiplied for a code, int16[P, 256], or [0, 256] where it is
the code itself; weight of every digit."""
Product = tuple[NDArray[np.bool_], Array, tuple[NDArray[np.int8], NDArray[np.int32], int]]
"""Tag of the rung; room for a block of A; B."""
Encoding = tuple[Rule, CodeTable]
"""Either a table or, where that has no entries, a rule."""

Following = tuple[NDArray[np.int16], tuple[int, int], NDArray[np.int16], Encoding]
"""What comes behind a rescaling: `residual` int16[M, N], which is added within limits; an
activation int16[65536]; an encoding. Each may be empty."""


@kernel
def has_digits(left: Left) -> bool:
    """Whether what is multiplied is cut into digits, whose sums have 64 bits."""
    return left[2].size > 1


@kernel
def copy_codes(codes: Codes, left: Left, block: Array) -> None:
    """uint8[R, K] -> block: what is multiplied, where that is not cut into digits."""
    if left[1].shape[0] > 0:
        copy_entries(codes, left[1][0], block)
    else:
        copy_operand(codes, left[0], block)


@kernel
def multiply_digits(
    codes: Codes, left: Left, product: Product, acc: NDArray[np.int32], total: NDArray[np.int64]
) -> None:
    """uint8[R, K] . B -> total int64[>= R, N]: the weighed sum of all digits; acc is room.

    All digits of a code are looked up at once, as one number of 32 bits.
    """
    rung, block, right = product
    tables, weights = left[1], left[2]
    bits = BYTE_DIGIT if block.itemsize == 1 else WORD_DIGIT
    packed = np.zeros(256, np.uint32)
    for digit in range(weights.size):
        for code in range(256):
            packed[code] |= np.uint32(np.uint32(tables[digit, code]) << np.uint32(bits * digit))
    rows, depth = codes.shape
    words = np.empty((rows, depth), np.uint32)
    for r in range(rows):
        for k in range(depth):
            words[r, k] = packed[codes[r, k]]
    total[:] = 0
    for digit in range(weights.size):
        copy_digits(words, np.uint32(bits * digit), block)
        multiply_rows(rung, block, rows, right, acc)
        for r in range(rows):
            for j in range(total.shape[1]):
                total[r, j] += np.int64(acc[r, j]) * weights[digit]


@kernel
def multiply_rescaled(
    codes: Codes, left: Left, product: Product, rule: Rule, columns: int, out: Array
) -> int:
    """uint8[R, K] . B -> out int[R, >= N], rescaled; number of saturated elements.

    A group of columns at a time, so that accumulators do not leave the first cache.
    """
    rung, block, (panels, start, run) = product
    rows, width = codes.shape[0], panels.shape[2]
    if has_digits(left):
        acc = np.empty((rows, start.size), np.int32)
        total = np.empty((rows, columns), np.int64)
        multiply_digits(codes, left, product, acc, total)
        return rescale_wide(total, rule, out)
    acc = np.empty((rows, COLUMNS), np.int32)
    copy_codes(codes, left, block)
    saturated = 0
    for first in range(0, columns, COLUMNS):
        last = min(first + COLUMNS, columns)
        p, q = first // width, (last + width - 1) // width
        right = panels[p:q], start[p * width : q * width], run
        multiply_rows(rung, block, rows, right, acc)
        saturated += rescale_columns(acc, 0, rule, (first, last), out)
    return saturated


@kernel
def encode_rows(values: Array, encoding: Encoding, out: Array) -> int:
    """int16 or uint16[>= R, N] -> uint8[R, N], number of saturated elements."""
    rule, table = encoding
    if table[0].size > 0:
        return look_up_codes(values, table, out)
    return rescale_rows(values, rule, out.shape[1], out)


@kernel
def add_rows(
    a: NDArray[np.int16], b: NDArray[np.int16], limits: tuple[int, int], out: Array
) -> int:
    """int16[R, N] twice -> their saturated sum, number of saturated elements."""
    low, high = np.int32(limits[0]), np.int32(limits[1])
    saturated = 0
    for r in range(out.shape[0]):
        changed = np.int32(0)
        for j in range(out.shape[1]):
            wide = np.int32(a[r, j]) + np.int32(b[r, j])
            held = min(max(wide, low), high)
            changed = np.int32(changed + np.int32(held != wide))
            out[r, j] = held
        saturated += int(changed)
    return saturated


@kernel
def is_followed(following: Following) -> bool:
    """Whether anything comes behind a rescaling."""
    residual, _, activation, encoding = following
    return residual.size > 0 or activation.size > 0 or encoding[1][0].size > 0


@kernel
def follow(values: NDArray[np.int16], following: Following, first: int, out: Array) -> int:
    """int16[>= R, N] -> out int[R, N], rows from `first` on; number of saturated elements."""
    residual, limits, activation, encoding = following
    rows = out.shape[0]
    if residual.size > 0:
        return add_rows(values, residual[first : first + rows], limits, out)
    if activation.size > 0:
        look_up(values, activation, rows)
    return encode_rows(values, encoding, out)


@kernel
def linear(
    codes: Codes, left: Left, product: Product, rule: Rule, following: Following, out: Array
) -> tuple[int, int]:
    """uint8[M, K] . B -> out int[M, N], rescaled; saturated there, and in what follows."""
    columns = out.shape[1]
    values = np.empty((BLOCK, columns), np.int16)
    rescaled, followed = 0, 0
    for first in range(0, codes.shape[0], BLOCK):
        last = min(first + BLOCK, codes.shape[0])
        part = codes[first:last]
        if is_followed(following):
            results = values[: last - first]
            rescaled += multiply_rescaled(part, left, product, rule, columns, results)
            followed += follow(values, following, first, out[first:last])
        else:
            rescaled += multiply_rescaled(part, left, product, rule, columns, out[first:last])
    return rescaled, followed


@kernel
def normalise(
    x: NDArray[np.int16], norm: Affine, encoding: Encoding, out: Codes
) -> tuple[int, int]:
    """int16[T, D] -> out uint8[T, D]: layer norm and codes; saturated elements of both."""
    values = np.empty((BLOCK, x.shape[1]), np.int16)
    normed, encoded = 0, 0
    for first in range(0, x.shape[0], BLOCK):
        last = min(first + BLOCK, x.shape[0])
        normed += layer_norm_rows(x[first:last], norm, values)
        encoded += encode_rows(values, encoding, out[first:last])
    return normed, encoded
