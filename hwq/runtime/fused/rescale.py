"""Accumulators to results: what `Epilogue` means, with as little arithmetic as exactness allows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._jit import kernel
from hwq.numerics.epilogue import Epilogue

Int = NDArray[np.int64]
Rule = tuple[NDArray[np.int32], Int, int, int]
"""int32[4, N] least, most, mult, zero_point; int64[2, N] addend, shift; lo; hi. Where N is 1, all
columns have one rule."""

Rules = tuple[NDArray[np.int32], Int, int, int]
"""Rules of several heads: int32[G, 4, N]; int64[G, 2, N]; lo; hi. Where G is 1, all have one."""

COLUMNS = 128
"""Columns whose parameters stay in the first cache while a block of rows goes by."""

_INT32 = np.iinfo(np.int32)
_LEAST, _MOST = int(_INT32.min), int(_INT32.max)
_NEAR = 44  # bits by which a result may be shifted left without leaving int64


@dataclass(frozen=True, slots=True, eq=False)
class Rescale:
    """An epilogue as (acc * mult + addend) >> shift, plus zero_point, saturated.

    The guard bits and the half that rounds go into the addend: of acc * 2**guard * mult + A, bits
    below 2**guard are A's alone, and a floor drops them. As results do not decrease with acc,
    accumulators are first held to the span that is one beyond what fits lo..hi, so that all else
    has 32 bits and an element saturates exactly where it is changed afterwards.

    Parameters
    ----------
    epilogue : Epilogue
        Its arrays are [..., 1, N] or [..., 1, 1], for all heads or for each.
    wide_columns : int
        N where sums have more than 32 bits: then every column has a rule, and no sum is held.
    """

    epilogue: Epilogue
    wide_columns: int = 0

    def rules(self, scales: Int | None = None) -> Rules:
        """Return the parameters of `rescale_rows`, for the image that has these scales."""
        epilogue = self.epilogue
        addend, (mult, shift) = epilogue.addend(scales), epilogue.multiplier(scales)
        operands = (addend, mult, shift, epilogue.zero_point)
        parts = [v.reshape(-1, v.shape[-1] if v.ndim else 1) for v in operands]
        columns = max(self.wide_columns, *(part.shape[1] for part in parts))
        heads = max(len(part) for part in parts)
        narrow = np.empty((heads, 4, columns), np.int32)
        wide = np.empty((heads, 2, columns), np.int64)
        bounds = epilogue.guard, epilogue.lo, epilogue.hi, self.wide_columns > 0
        _make_rules((parts[0], parts[1], parts[2], parts[3]), bounds, narrow, wide)
        return narrow, wide, epilogue.lo, epilogue.hi


@kernel
def _make_rules(
    operands: tuple[Int, Int, Int, Int],
    bounds: tuple[int, int, int, bool],
    narrow: NDArray[np.int32],
    wide: Int,
) -> None:
    """Addend, mult, shift, zero_point; guard, lo, hi, wide -> the arrays of `Rules`.

    An operand is int64[G, N], or has 1 where all heads or columns have one.
    """
    guard, lo, hi, is_wide = bounds
    for g in range(narrow.shape[0]):
        for j in range(narrow.shape[2]):
            addend, mult = _entry(operands[0], g, j), _entry(operands[1], g, j)
            shift, zero = _entry(operands[2], g, j), _entry(operands[3], g, j)
            # |addend| < 2**46 and mult < 2**16, and 2**61 for the half: below 2**63
            total = addend * mult + ((1 << shift) >> 1)
            total >>= min(shift, guard)
            right = max(shift - guard, 0)
            mult <<= max(guard - shift, 0)  # where no guard bit is dropped
            least, most = _LEAST, _MOST
            # otherwise no accumulator of 32 bits makes a result of more than 18
            if right <= _NEAR and mult > 0 and not is_wide:
                least = _first((lo - zero) << right, total, mult) - 1
                most = _first((hi + 1 - zero) << right, total, mult)
                if least >= _MOST or most < _LEAST:  # one end, whatever is accumulated
                    zero = lo - 1 if least >= _MOST else hi + 1
                    mult = total = right = 0
            narrow[g, 0, j] = min(max(least, _LEAST), _MOST)
            narrow[g, 1, j] = min(max(most, _LEAST), _MOST)
            narrow[g, 2, j], narrow[g, 3, j] = mult, zero
            wide[g, 0, j], wide[g, 1, j] = total, right


@kernel
def _entry(values: Int, g: int, j: int) -> int:
    return int(values[min(g, values.shape[0] - 1), min(j, values.shape[1] - 1)])


@kernel
def _first(bound: int, addend: int, mult: int) -> int:
    """The least acc with acc * mult + addend >= bound, where their difference may have 64 bits."""
    return bound // mult - addend // mult + (bound % mult > addend % mult)


@kernel
def rescale_rows(
    acc: NDArray[np.integer], rule: Rule, columns: int, out: NDArray[np.integer]
) -> int:
    """int32 or narrower[R, >= N] -> out int[R, >= N], number of saturated elements."""
    saturated = 0
    for first in range(0, columns, COLUMNS):
        last = min(first + COLUMNS, columns)
        saturated += rescale_columns(acc, first, rule, (first, last), out)
    return saturated


@kernel
def rescale_columns(
    acc: NDArray[np.integer],
    base: int,
    rule: Rule,
    columns: tuple[int, int],
    out: NDArray[np.integer],
) -> int:
    """The same of some columns, first..last-1, that lie in acc from column `base` on."""
    if rule[0].shape[1] == 1:
        return _rescale_alike(acc, base, rule, columns, out)
    narrow, wide, lo, hi = rule
    first, last = columns
    low, high = np.int32(lo), np.int32(hi)
    least, most = narrow[0, first:last], narrow[1, first:last]
    mult, zero = narrow[2, first:last], narrow[3, first:last]
    addend, shift = wide[0, first:last], wide[1, first:last]
    saturated = 0
    for r in range(out.shape[0]):
        values, results = acc[r, base : base + last - first], out[r, first:last]
        changed = np.int32(0)
        for j in range(last - first):
            value = min(max(np.int32(values[j]), least[j]), most[j])
            # |value * mult| < 2**60 and |addend| < 2**62: within 63 bits
            total = np.int64(value) * np.int64(mult[j]) + addend[j]
            result = np.int32(np.int32(total >> shift[j]) + zero[j])
            held = min(max(result, low), high)
            changed = np.int32(changed + np.int32(held != result))
            results[j] = held
        saturated += int(changed)
    return saturated


@kernel
def _rescale_alike(
    acc: NDArray[np.integer],
    base: int,
    rule: Rule,
    columns: tuple[int, int],
    out: NDArray[np.integer],
) -> int:
    """The same where all columns have one rule: no parameter is read for an element."""
    narrow, wide, lo, hi = rule
    first, last = columns
    low, high = np.int32(lo), np.int32(hi)
    least, most, mult, zero = narrow[0, 0], narrow[1, 0], np.int64(narrow[2, 0]), narrow[3, 0]
    addend, shift = wide[0, 0], wide[1, 0]
    saturated = 0
    for r in range(out.shape[0]):
        values, results = acc[r, base : base + last - first], out[r, first:last]
        changed = np.int32(0)
        for j in range(last - first):
            value = min(max(np.int32(values[j]), least), most)
            result = np.int32(np.int32((np.int64(value) * mult + addend) >> shift) + zero)
            held = min(max(result, low), high)
            changed = np.int32(changed + np.int32(held != result))
            results[j] = held
        saturated += int(changed)
    return saturated


@kernel
def rescale_wide(acc: Int, rule: Rule, out: NDArray[np.integer]) -> int:
    """int64[R, >= N], |acc << guard| < 2**46 -> out int[R, >= N], saturated elements.

    There are rules for all N columns.
    """
    narrow, wide, lo, hi = rule
    mult, zero, addend, shift = narrow[2], narrow[3], wide[0], wide[1]
    saturated = 0
    for r in range(out.shape[0]):
        for j in range(mult.size):
            total = acc[r, j] * np.int64(mult[j]) + addend[j]
            result = (total >> shift[j]) + np.int64(zero[j])
            held = min(max(result, lo), hi)
            saturated += held != result
            out[r, j] = held
    return saturated


@kernel
def rescale_tokens(
    acc: NDArray[np.int32], factors: Int, first: int, rule: Rule, out: NDArray[np.integer]
) -> int:
    """int32[R, >= N] times a factor for each token -> out int[R, >= N], saturated elements.

    There are rules for all N columns; row r is token first + r.
    """
    narrow, wide, lo, hi = rule
    mult, zero, addend, shift = narrow[2], narrow[3], wide[0], wide[1]
    saturated = 0
    for r in range(out.shape[0]):
        # below 2**12, and mult below 2**16: |acc * factor * mult| < 2**59
        factor = np.int32(factors[(first + r) % factors.size])
        for j in range(mult.size):
            total = np.int64(acc[r, j]) * np.int64(np.int32(factor * mult[j])) + addend[j]
            result = (total >> shift[j]) + np.int64(zero[j])
            held = min(max(result, lo), hi)
            saturated += held != result
            out[r, j] = held
    return saturated


@kernel
def of_head(rules: Rules, head: int) -> Rule:
    """Return the rule of one head."""
    narrow, wide, lo, hi = rules
    g = min(head, narrow.shape[0] - 1)
    return narrow[g], wide[g], lo, hi
