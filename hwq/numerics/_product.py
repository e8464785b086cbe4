"""Blocks of rows of a matrix product, in the order in which register tiles read and write them."""

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._jit import kernel
from hwq.numerics._rung import GROUP
from hwq.numerics._shift import right_shift
from hwq.numerics._tile import full_tile, row_tile, tile_rows

Right = tuple[NDArray[np.int8], NDArray[np.int32], int]
"""B: panels int8[P, S, columns, 4]; what sums start from, int32[P * columns]; longest byte run."""

BYTE_DIGIT, WORD_DIGIT = 8, 15
"""Bits of a digit, at most, where what bytes and words multiply is cut into digits."""

BLOCK = 48
"""Rows of A that stay in the cache while all of B goes by; a multiple of every tile's rows."""


@kernel
def copy_operand(a: NDArray[np.integer], low: int, out: NDArray[np.integer]) -> None:
    """int[M, K] -> out uint8 or int16[>= M, >= K]: what an instruction multiplies.

    Bytes are codes less `low`, which is their least value, modulo 256. Words are codes, of every
    four in the order a0 a2 a1 a3; 8-bit codes may be given as uint8 whatever their sign.
    """
    depth = a.shape[1]
    whole = depth - depth % GROUP
    first, least = np.uint8(low & 255), np.int16(low)
    for m in range(a.shape[0]):
        if out.itemsize == 1:
            for k in range(depth):
                out[m, k] = np.uint8(np.uint8(a[m, k]) - first)
            continue
        if a.itemsize > 1:
            for k in range(0, whole, GROUP):
                out[m, k] = a[m, k]
                out[m, k + 1] = a[m, k + 2]
                out[m, k + 2] = a[m, k + 1]
                out[m, k + 3] = a[m, k + 3]
        else:
            for k in range(0, whole, GROUP):
                out[m, k] = np.int16(np.uint8(np.uint8(a[m, k]) - first)) + least
                out[m, k + 1] = np.int16(np.uint8(np.uint8(a[m, k + 2]) - first)) + least
                out[m, k + 2] = np.int16(np.uint8(np.uint8(a[m, k + 1]) - first)) + least
                out[m, k + 3] = np.int16(np.uint8(np.uint8(a[m, k + 3]) - first)) + least
        if depth > whole:
            out[m, whole : out.shape[1]] = 0
            for k in range(whole, depth):
                place = whole + (2 * (k - whole)) % 3  # 0, 1, 2 go to 0, 2, 1
                if a.itemsize > 1:
                    out[m, place] = a[m, k]
                else:
                    out[m, place] = np.int16(np.uint8(np.uint8(a[m, k]) - first)) + least


@kernel
def copy_entries(
    codes: NDArray[np.uint8], table: NDArray[np.int16], out: NDArray[np.integer]
) -> None:
    """uint8[M, K] -> the same of a table's entries int16[256] for all codes."""
    depth = codes.shape[1]
    whole = depth - depth % GROUP
    second = 1 if out.itemsize == 1 else 2  # where the second of four goes
    for m in range(codes.shape[0]):
        for k in range(0, whole, GROUP):
            out[m, k] = table[codes[m, k]]
            out[m, k + second] = table[codes[m, k + 1]]
            out[m, k + 3 - second] = table[codes[m, k + 2]]
            out[m, k + 3] = table[codes[m, k + 3]]
        if depth > whole:
            out[m, whole : out.shape[1]] = 0
            for k in range(whole, depth):
                out[m, whole + (second * (k - whole)) % 3] = table[codes[m, k]]


@kernel
def copy_digits(words: NDArray[np.uint32], low: np.uint32, out: NDArray[np.integer]) -> None:
    """uint32[M, K] -> the same of their bits from `low` on: 8 of them, or 15 for words."""
    depth = words.shape[1]
    whole = depth - depth % GROUP
    mask = np.uint32((1 << WORD_DIGIT) - 1)
    for m in range(words.shape[0]):
        if out.itemsize == 1:
            for k in range(depth):
                out[m, k] = np.uint8(right_shift(words[m, k], low))
            continue
        for k in range(0, whole, GROUP):
            out[m, k] = right_shift(words[m, k], low) & mask
            out[m, k + 1] = right_shift(words[m, k + 2], low) & mask
            out[m, k + 2] = right_shift(words[m, k + 1], low) & mask
            out[m, k + 3] = right_shift(words[m, k + 3], low) & mask
        if depth > whole:
            out[m, whole : out.shape[1]] = 0
            for k in range(whole, depth):
                place = whole + (2 * (k - whole)) % 3
                out[m, place] = right_shift(words[m, k], low) & mask


@kernel
def multiply_rows(
    rung: NDArray[np.bool_],
    a: NDArray[np.integer],
    rows: int,
    right: Right,
    acc: NDArray[np.int32],
) -> None:
    """uint8 or int16[>= rows, 4S] . right -> acc int32[>= rows, >= P*columns], modulo 2**32.

    `a` is what `copy_operand` makes.
    """
    panels, start, run = right
    count, steps, columns = panels.shape[:3]
    full = tile_rows(rung)
    for p in range(count):
        b = panels.ctypes.data + p * steps * columns * GROUP
        first = start.ctypes.data + 4 * p * columns
        c = acc.ctypes.data + 4 * p * columns
        m = 0
        if rows >= full:
            while m < rows:
                # the last tile starts early enough to be full, and repeats a few rows
                m = min(m, rows - full)
                row = a.ctypes.data + m * a.strides[0]
                out = c + m * acc.strides[0]
                full_tile(
                    rung, a[0, 0], row, a.strides[0], b, first, out, acc.strides[0], steps, run
                )
                m += full
        while m < rows:
            row = a.ctypes.data + m * a.strides[0]
            out = c + m * acc.strides[0]
            row_tile(rung, a[0, 0], row, a.strides[0], b, first, out, acc.strides[0], steps, run)
            m += 1


@kernel
def multiply(
    rung: NDArray[np.bool_],
    a: NDArray[np.integer],
    low: int,
    block: NDArray[np.integer],
    right: Right,
    columns: int,
) -> NDArray[np.int32]:
    """int[M, K] . right -> int32[M, columns], a block of rows at a time.

    `block` is uint8 or int16[BLOCK, 4S], to be overwritten; bytes are codes less `low`.
    """
    out = np.empty((a.shape[0], columns), np.int32)
    acc = np.empty((BLOCK, right[1].size), np.int32)
    for first in range(0, a.shape[0], BLOCK):
        rows = min(BLOCK, a.shape[0] - first)
        copy_operand(a[first : first + rows], low, block)
        multiply_rows(rung, block, rows, right, acc)
        out[first : first + rows] = acc[:rows, :columns]
    return out


@kernel
def pack_rows(b: NDArray[np.int8], panels: NDArray[np.int8]) -> None:
    """int8[K, N] -> int8[P, S, columns, 4], zero padded."""
    depth, width = b.shape
    count, steps, columns = panels.shape[:3]
    for p in range(count):
        inside = max(min(width - p * columns, columns), 0)
        for s in range(steps):
            k = s * GROUP
            if inside == columns and k + GROUP <= depth:
                for j in range(columns):
                    n = p * columns + j
                    panels[p, s, j, 0] = b[k, n]
                    panels[p, s, j, 1] = b[k + 1, n]
                    panels[p, s, j, 2] = b[k + 2, n]
                    panels[p, s, j, 3] = b[k + 3, n]
                continue
            panels[p, s] = 0
            for g in range(min(depth - k, GROUP)):
                for j in range(inside):
                    panels[p, s, j, g] = b[k + g, p * columns + j]


@kernel
def pack_columns(b: NDArray[np.int8], panels: NDArray[np.int8]) -> None:
    """int8[N, K], B transposed -> the same as `pack_rows`."""
    width, depth = b.shape
    count, steps, columns = panels.shape[:3]
    whole = depth // GROUP
    for n in range(count * columns):
        p, j = n // columns, n % columns
        if n >= width:
            panels[p, :, j] = 0
            continue
        for s in range(whole):
            for g in range(GROUP):
                panels[p, s, j, g] = b[n, s * GROUP + g]
        if whole < steps:
            panels[p, whole, j] = 0
            for k in range(whole * GROUP, depth):
                panels[p, whole, j, k - whole * GROUP] = b[n, k]


@kernel
def column_sums(panels: NDArray[np.int8], sums: NDArray[np.int32]) -> None:
    """int8[P, S, columns, 4] -> int32[P*columns]: the sum of every column."""
    count, steps, columns = panels.shape[:3]
    for p in range(count):
        for j in range(columns):
            sums[p * columns + j] = 0
        for s in range(steps):
            for j in range(columns):
                low = np.int32(panels[p, s, j, 0]) + np.int32(panels[p, s, j, 1])
                high = np.int32(panels[p, s, j, 2]) + np.int32(panels[p, s, j, 3])
                sums[p * columns + j] += np.int32(low + high)


@kernel
def largest_pair(panels: NDArray[np.int8]) -> int:
    """int8[P, S, columns, 4] -> the largest |b0|+|b1| or |b2|+|b3|: what vpmaddubsw may add."""
    values = panels.reshape(-1, 2)
    largest = 0
    for i in range(values.shape[0]):
        # widened first: numba's int() leaves 8 bits, of which -128 has no magnitude
        first, second = np.int64(values[i, 0]), np.int64(values[i, 1])
        largest = max(largest, int(abs(first) + abs(second)))
    return largest
