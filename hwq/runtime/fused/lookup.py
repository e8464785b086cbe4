"""Functions of 16-bit values as tables: an activation, an encoder, or one after the other."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._jit import kernel

Array = NDArray[np.integer]
Function = Callable[[Array], tuple[Array, int]]
"""int[n] -> int[n], number of saturated elements."""

Codes = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""uint8[65536], the code of every value in the order of its bits; int64[S, 2], first and last of
the values that saturate, as spans."""


def every_value(signed: bool) -> Array:
    """Return all 16-bit values, in the order of their bits."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    return bits.view(np.int16) if signed else bits


def code_table(function: Function, signed: bool) -> Codes:
    """Evaluate an encoder of at most 8 bits at every 16-bit value."""
    values = every_value(signed)
    codes, saturated = function(values)
    # in the order of size, in which what saturates lies together
    ordered = np.sort(values)
    marks = np.zeros(values.size, bool)
    _mark(function, ordered, marks, saturated)
    edges = np.flatnonzero(np.diff(marks, prepend=False, append=False)).reshape(-1, 2)
    spans = ordered[edges - [0, 1]].astype(np.int64).reshape(-1, 2)
    return codes.reshape(-1).astype(np.uint8), spans


def _mark(function: Function, values: Array, marks: NDArray[np.bool_], saturated: int) -> None:
    """Mark the elements that saturate, of which a function tells the number: halve."""
    if saturated in (0, values.size):
        marks[:] = saturated > 0
        return
    middle = values.size // 2
    left = function(values[:middle])[1]
    _mark(function, values[:middle], marks[:middle], left)
    _mark(function, values[middle:], marks[middle:], saturated - left)


@kernel
def look_up_codes(values: Array, codes: Codes, out: Array) -> int:
    """int16 or uint16[R, N] -> uint8[R, N], number of saturated elements."""
    table, spans = codes
    saturated = 0
    for r in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[r, j] = table[np.uint16(values[r, j])]
        for s in range(spans.shape[0]):
            least, most = np.int32(spans[s, 0]), np.int32(spans[s, 1])
            inside = np.int32(0)
            for j in range(out.shape[1]):
                value = np.int32(values[r, j])
                inside = np.int32(inside + np.int32((value >= least) & (value <= most)))
            saturated += int(inside)
    return saturated


@kernel
def look_up(values: NDArray[np.int16], table: NDArray[np.int16], rows: int) -> None:
    """int16[R, N] -> the entries of a table int16[65536], in place, in the first rows."""
    for r in range(rows):
        for j in range(values.shape[1]):
            values[r, j] = table[np.uint16(values[r, j])]
