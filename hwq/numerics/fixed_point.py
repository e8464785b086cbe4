"""Fixed-point formats, and a real multiplier as a short mantissa and a shift."""

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwq.errors import require
from hwq.numerics.rounding import half_up_float

MAX_SHIFT = 62
_DTYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)


def smallest_dtype(lo: int, hi: int) -> np.dtype[np.integer]:
    """Return the smallest numpy integer type that holds lo..hi, unsigned where both will do.

    uint64 is never returned: numpy turns uint64 combined with int64 into float64.

    Examples
    --------
    >>> smallest_dtype(0, 255), smallest_dtype(-1, 255)
    (dtype('uint8'), dtype('int16'))
    """
    require(lo <= hi, f"lo must not exceed hi, not {lo}..{hi}")
    for kind in _DTYPES:
        info = np.iinfo(kind)
        if info.min <= lo and hi <= info.max:
            return np.dtype(kind)
    require(False, f"a range must fit in int64, not {lo}..{hi}")
    raise AssertionError


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A fixed-point format: the integer n stands for n * 2**-frac.

    Parameters
    ----------
    bits : int in 1..62
        Width, including the sign.
    frac : int in -62..62
        Fraction bits; negative where the integer counts multiples of a power of two.
    signed : bool
        Two's complement, or unsigned.
    """

    bits: int
    frac: int
    signed: bool = True

    def __post_init__(self) -> None:
        require(1 <= self.bits <= 62, f"bits must be in 1..62, not {self.bits}")
        require(-62 <= self.frac <= 62, f"frac must be in -62..62, not {self.frac}")

    @property
    def min(self) -> int:
        """The smallest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        """The largest integer."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def lsb(self) -> float:
        """What one unit stands for, exactly: 2**-frac."""
        return 2.0**-self.frac

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The smallest numpy type that holds min..max."""
        return smallest_dtype(self.min, self.max)

    def from_float(self, x: ArrayLike) -> NDArray[np.integer]:
        """float[...] -> int[...]: clamp(x * 2**frac to nearest, ties up; min, max)."""
        wide = np.asarray(x, np.float64)
        require(not bool(np.isnan(wide).any()), "a number is needed, not nan")
        whole = np.clip(half_up_float(np.ldexp(wide, self.frac)), self.min, self.max)
        # float(max) may round up to 2**62, which still fits int64; the second clip takes it back
        return np.clip(whole.astype(np.int64), self.min, self.max).astype(self.dtype)

    def to_float(self, codes: ArrayLike) -> NDArray[np.float64]:
        """int[...] -> float64[...]: codes * 2**-frac, exact below 54 bits."""
        return np.ldexp(np.asarray(codes, np.float64), -self.frac)

    @classmethod
    def covering(
        cls, max_abs: float, bits: int = 16, max_frac: int = 31, signed: bool = True
    ) -> "FixedPoint":
        """Return the format with the most fraction bits, at most max_frac, that holds max_abs.

        Held means max_abs <= max * 2**-frac, without rounding; -max_abs is then held too where
        the format is signed.
        """
        require(isfinite(max_abs) and max_abs >= 0, f"max_abs must be finite, not {max_abs}")
        frac = max_frac
        while frac > -62 and Fraction(max_abs) * Fraction(2) ** frac > cls(bits, 0, signed).max:
            frac -= 1
        return cls(bits, frac, signed)


def dyadic(value: float, bits: int = 16) -> tuple[int, int]:
    """Return (mult, shift) of `dyadic_array` for one number.

    Examples
    --------
    >>> dyadic(1.0)
    (32768, 15)
    >>> dyadic(1 / 3)
    (43691, 17)
    """
    mult, shift = dyadic_array(np.array([value]), bits)
    return int(mult[0]), int(shift[0])


def dyadic_array(
    values: NDArray[np.floating], bits: int = 16
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """float[...] -> int64[...] mult, int64[...] shift, with values ~ mult * 2**-shift.

    mult is rounded to nearest, ties up, and lies in [2**(bits-1), 2**bits); the relative error is
    at most 2**-bits. Zero gives (0, 1). A value below 2**(bits-1-62) gets a shift of 62 and a
    shorter mult: it takes |acc| < 2**46 to less than a half, so nothing is lost in a product.

    Raises
    ------
    SpecError
        If a value is negative, not finite, or 2**(bits-1) or more, which needs a shift below 1.
    """
    require(2 <= bits <= 31, f"bits must be in 2..31, not {bits}")
    wide = np.asarray(values, np.float64)
    for value in wide[~(np.isfinite(wide) & (wide >= 0))].ravel()[:1]:
        require(False, f"a multiplier must be finite and not negative, not {value}")
    mantissa, exponent = np.frexp(wide)
    mult = half_up_float(np.ldexp(mantissa, bits)).astype(np.int64)
    carry = mult == 1 << bits  # 0.11..1 rounded up to 1.0: one more bit, so halve it
    mult = np.where(carry, mult >> 1, mult)
    shift = np.where(mult == 0, 1, bits - exponent.astype(np.int64) - carry)
    for value in wide[shift < 1].ravel()[:1]:
        require(False, f"a multiplier must be below {float(1 << (bits - 1))}, not {value}")
    tiny = shift > MAX_SHIFT
    short = half_up_float(np.ldexp(np.where(tiny, wide, 0.0), MAX_SHIFT)).astype(np.int64)
    return np.where(tiny, short, mult), np.asarray(np.minimum(shift, MAX_SHIFT))
