"""How large sums of products can get: they must fit in a 32-bit accumulator."""

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require

MAX_ACCUMULATOR = (1 << 31) - 1


def accumulator_bound(k: int, a_max_abs: int, b_max_abs: int) -> int:
    """Return the largest magnitude that a sum of k products can have: k * a_max_abs * b_max_abs.

    Examples
    --------
    >>> accumulator_bound(1536, 255, 128)
    50135040
    """
    return k * a_max_abs * b_max_abs


def check_accumulator(k: int, a_max_abs: int, b_max_abs: int) -> None:
    """Raise `SpecError` unless every sum of k products fits in an int32 accumulator."""
    bound = accumulator_bound(k, a_max_abs, b_max_abs)
    require(
        bound <= MAX_ACCUMULATOR,
        f"an accumulator must stay below 2**31, not reach {bound} "
        f"(K = {k}, |a| <= {a_max_abs}, |b| <= {b_max_abs}): take fewer bits",
    )


def longest_shift(k: int, b_bits: int) -> int:
    """Return the largest E <= 15 for which k products of 2**E and b_bits-bit codes always fit.

    Raises
    ------
    SpecError
        When not even products of 1 fit in an int32 accumulator.
    """
    largest = 1 << (b_bits - 1)
    check_accumulator(k, 1, largest)
    return min((MAX_ACCUMULATOR // (k * largest)).bit_length() - 1, 15)


def check_constant_operand(b: NDArray[np.integer], a_max_abs: int) -> None:
    """Raise `SpecError` unless every sum over int[K, N] fits, whatever a is within a_max_abs.

    Tighter than `check_accumulator`: no column of b is all extremes.
    """
    largest = int(np.abs(b.astype(np.int64)).sum(0).max()) if b.size else 0
    bound = accumulator_bound(1, a_max_abs, largest)
    require(
        bound <= MAX_ACCUMULATOR,
        f"an accumulator must stay below 2**31, not reach {bound} "
        f"(|a| <= {a_max_abs}, sum of |b| over a column <= {largest}): take fewer bits",
    )
