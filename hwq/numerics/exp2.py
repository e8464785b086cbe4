"""Power of two: 2**x of a fixed-point x as a mantissa and an exponent, by one short polynomial."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics import horner
from hwq.numerics._jit import kernel
from hwq.numerics._shift import right_shift
from hwq.numerics.unit import Unit, UnitTiming

ACC_FRAC = 17
"""Fraction bits of the polynomial's accumulator; it is unsigned and ACC_FRAC + 1 bits wide."""

COEFFICIENTS = (1759, 6848, 31626, 90838, 1 << ACC_FRAC)
"""2**f on [0, 1), degree 4, highest degree first, ACC_FRAC fraction bits.

Minimax fit of the relative error with the constant held at 1, then the best of the 81
neighbouring integer vectors over all 4,096 fractions of 12 bits.
"""

_C4, _C3, _C2, _C1, _C0 = COEFFICIENTS


@kernel
def _exp2_fraction(fraction: np.uint32, frac: int) -> np.uint32:
    """uint32 in 0..2**frac-1 -> uint32 in 2**17..2**18-1: 2**(17 + fraction / 2**frac).

    Horner on COEFFICIENTS, each product rounded half up.
    """
    # acc < 2**18 and fraction < 2**frac <= 2**14, so product and half stay below 2**32
    s = np.uint32(frac)
    half = np.uint32(1 << (frac - 1))
    acc = np.uint32(_C4)
    acc = np.uint32(right_shift(np.uint32(np.uint32(acc * fraction) + half), s) + np.uint32(_C3))
    acc = np.uint32(right_shift(np.uint32(np.uint32(acc * fraction) + half), s) + np.uint32(_C2))
    acc = np.uint32(right_shift(np.uint32(np.uint32(acc * fraction) + half), s) + np.uint32(_C1))
    acc = np.uint32(right_shift(np.uint32(np.uint32(acc * fraction) + half), s) + np.uint32(_C0))
    return acc


@kernel
def _exp2(
    x: NDArray[np.int32], frac: int, mantissa_bits: int
) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
    """int32[n] -> uint16[n], int8[n]: exponent = x >> frac, mantissa of the low frac bits."""
    drop = np.uint32(ACC_FRAC + 1 - mantissa_bits)
    half = np.uint32(1 << (ACC_FRAC - mantissa_bits))
    top = np.uint32((1 << mantissa_bits) - 1)
    mantissa = np.empty(x.size, np.uint16)
    exponent = np.empty(x.size, np.int8)
    for i in range(x.size):
        fraction = np.uint32(x[i] & ((1 << frac) - 1))
        acc = _exp2_fraction(fraction, frac)
        mantissa[i] = min(np.uint32((acc + half) >> drop), top)
        exponent[i] = x[i] >> frac
    return mantissa, exponent


def exp2_reference(
    x: NDArray[np.integer], spec: "Exp2Spec"
) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
    """int[...] -> uint16[...], int8[...]: the same polynomial with Python integers."""
    unity, drop = 1 << spec.frac, ACC_FRAC + 1 - spec.mantissa_bits
    mantissas, exponents = [], []
    for value in np.asarray(x).ravel().tolist():
        exponent, fraction = divmod(value, unity)
        acc = COEFFICIENTS[0]
        for coefficient in COEFFICIENTS[1:]:
            acc = (2 * acc * fraction + unity) // (2 * unity) + coefficient
        rounded = (2 * acc + (1 << drop)) // (2 << drop)
        mantissas.append(min(rounded, (1 << spec.mantissa_bits) - 1))
        exponents.append(exponent)
    shape = np.shape(x)
    exponent_codes = np.array(exponents, np.int8).reshape(shape)
    return np.array(mantissas, np.uint16).reshape(shape), exponent_codes


@dataclass(frozen=True, slots=True)
class Exp2Spec:
    """2**(x / 2**frac) = mantissa * 2**(exponent - mantissa_bits + 1).

    exponent = x >> frac (floor); fraction = x mod 2**frac; acc = COEFFICIENTS[0], then for every
    further c: acc = ((acc*fraction + 2**(frac-1)) >> frac) + c; with drop = 18 - mantissa_bits,
    mantissa = min((acc + 2**(drop-1)) >> drop, 2**mantissa_bits - 1). Ties go up. The mantissa is
    in 2**(mantissa_bits-1)..2**mantissa_bits-1, and exactly the former for an integral power.

    Parameters
    ----------
    in_bits : int in frac+1..frac+8
        Width of the signed x; the exponent then fits in 8 bits.
    frac : int in 1..14
        Fraction bits of x.
    mantissa_bits : int in 2..16
        Width of the mantissa.
    """

    in_bits: int = 16
    frac: int = 12
    mantissa_bits: int = 16

    def __post_init__(self) -> None:
        require(1 <= self.frac <= 14, f"frac must be in 1..14, not {self.frac}")
        require(
            self.frac < self.in_bits <= self.frac + 8,
            f"in_bits must be in {self.frac + 1}..{self.frac + 8}, not {self.in_bits}",
        )
        require(
            2 <= self.mantissa_bits <= 16,
            f"mantissa_bits must be in 2..16, not {self.mantissa_bits}",
        )

    @property
    def minimum(self) -> int:
        """Smallest x."""
        return -(1 << (self.in_bits - 1))

    @property
    def maximum(self) -> int:
        """Largest x."""
        return (1 << (self.in_bits - 1)) - 1

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        """int[...] -> mantissa uint16[...], exponent int8[...], by the kernel."""
        self._check(x)
        flat = np.ascontiguousarray(x, np.int32).ravel()
        mantissa, exponent = _exp2(flat, self.frac, self.mantissa_bits)
        return mantissa.reshape(np.shape(x)), exponent.reshape(np.shape(x))

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        """int[...] -> mantissa uint16[...], exponent int8[...], by exact Python arithmetic."""
        self._check(x)
        return exp2_reference(x, self)

    def _check(self, x: NDArray[np.integer]) -> None:
        if x.size:
            lo, hi = int(x.min()), int(x.max())
            require(
                self.minimum <= lo and hi <= self.maximum,
                f"x must be in {self.minimum}..{self.maximum}, not {lo}..{hi}",
            )


def timing() -> UnitTiming:
    """Item: one value. The polynomial and a stage that rounds the mantissa."""
    return UnitTiming(horner.timing(len(COEFFICIENTS) - 1).latency_cycles + 1, interval_cycles=1)


UNIT = Unit("exp2", Exp2Spec, timing)
