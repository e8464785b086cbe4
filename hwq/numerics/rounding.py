"""The one rounding of hwq: to nearest, ties up."""

from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Integers = TypeVar("Integers", int, NDArray[np.int64])


def half_up_shift(v: Integers, shift: int | NDArray[np.int64]) -> Integers:
    """Int or int64[...] -> same: v * 2**-shift, to nearest, ties up: (v + 2**(shift-1)) >> shift.

    A shift of 0 is the identity. Python ints are exact at any size; an array needs
    |v| + 2**(shift-1) < 2**63.

    Examples
    --------
    >>> half_up_shift(5, 1), half_up_shift(-5, 1), half_up_shift(7, 0)
    (3, -2, 7)
    """
    # (1 << shift) >> 1 is 2**(shift-1), and 0 for a shift of 0
    return cast(Integers, (v + ((1 << shift) >> 1)) >> shift)


def half_up_float(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[...] -> float64[...]: the nearest whole number, ties up, without a rounded x + 0.5.

    Examples
    --------
    >>> half_up_float(np.array([0.5, -0.5, 0.49999999999999994])).tolist()
    [1.0, 0.0, 0.0]
    """
    below = np.floor(x)
    # a difference of neighbours is exact where it decides, so no double rounding can occur
    up = np.subtract(x, below, out=np.zeros_like(below), where=np.isfinite(x)) >= 0.5
    return below + up
