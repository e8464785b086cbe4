"""Polynomial in fixed point by Horner's rule: one multiply, one add and one saturation a degree."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.unit import Unit, UnitTiming


@kernel
def _horner_step(acc: int, x: int, coefficient: int, frac: int) -> int:
    """One unsaturated Horner step: ((acc*x + 2**(frac-1)) >> frac) + coefficient."""
    return ((acc * x + (1 << (frac - 1))) >> frac) + coefficient


@kernel
def _horner(
    x: NDArray[np.signedinteger], coefficients: NDArray[np.int64], bits: int, frac: int
) -> NDArray[np.signedinteger]:
    """int[n] -> int[n]: acc = sat(((acc*x + 2**(frac-1)) >> frac) + c) per coefficient."""
    lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    out = np.empty_like(x)
    for i in range(x.size):
        acc = int(coefficients[0])
        for k in range(1, coefficients.size):
            # |acc|, |x| <= 2**31, so the product and its half fit in 64 bits
            acc = min(max(_horner_step(acc, int(x[i]), int(coefficients[k]), frac), lo), hi)
        out[i] = acc
    return out


def horner_reference(x: NDArray[np.integer], spec: "HornerSpec") -> NDArray[np.signedinteger]:
    """int[...] -> int[...]: the same polynomial with Python integers, one value at a time."""
    values = []
    for value in np.asarray(x).ravel().tolist():
        acc = spec.coefficients[0]
        for coefficient in spec.coefficients[1:]:
            doubled_floor = (2 * acc * value) // (1 << spec.frac)
            acc = (doubled_floor + 1) // 2 + coefficient
            acc = min(max(acc, spec.minimum), spec.maximum)
        values.append(acc)
    return np.array(values, spec.dtype).reshape(np.shape(x))


@dataclass(frozen=True, slots=True)
class HornerSpec:
    """Polynomial with fixed-point coefficients, evaluated in `bits`-wide saturating arithmetic.

    acc = c[0]; for every further c: acc = saturate(((acc*x + 2**(frac-1)) >> frac) + c, bits).
    Products are rounded half up; x, acc and c are signed and have `frac` fraction bits.

    Parameters
    ----------
    coefficients : tuple of int
        Highest degree first; at least two (degree 1).
    bits : int in 2..32
        Width of x, of every coefficient and of acc.
    frac : int in 1..bits-1
        Fraction bits of x; also those of the coefficients and of the result if all are to be
        read at one scale.
    """

    coefficients: tuple[int, ...]
    bits: int = 16
    frac: int = 12

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 32, f"bits must be in 2..32, not {self.bits}")
        require(1 <= self.frac < self.bits, f"frac must be in 1..{self.bits - 1}, not {self.frac}")
        require(
            len(self.coefficients) >= 2,
            f"coefficients must be at least two, not {len(self.coefficients)}",
        )
        for c in self.coefficients:
            require(
                self.minimum <= c <= self.maximum,
                f"coefficients must be in {self.minimum}..{self.maximum}, not {c}",
            )

    @property
    def degree(self) -> int:
        """Degree of the polynomial: the number of multiplications."""
        return len(self.coefficients) - 1

    @property
    def minimum(self) -> int:
        """Smallest value of x and of acc."""
        return -(1 << (self.bits - 1))

    @property
    def maximum(self) -> int:
        """Largest value of x and of acc."""
        return (1 << (self.bits - 1)) - 1

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """The smallest numpy integer type that holds `bits` bits."""
        return cast("np.dtype[np.signedinteger]", np.min_scalar_type(self.minimum))

    def compute(self, x: NDArray[np.integer]) -> NDArray[np.signedinteger]:
        """int[...] -> int[...] of `dtype`, by the kernel; x must fit in `bits` bits."""
        self._check(x)
        flat = np.ascontiguousarray(x, self.dtype).ravel()
        coefficients = np.array(self.coefficients, np.int64)
        return _horner(flat, coefficients, self.bits, self.frac).reshape(np.shape(x))

    def reference(self, x: NDArray[np.integer]) -> NDArray[np.signedinteger]:
        """int[...] -> int[...] of `dtype`, by exact Python arithmetic."""
        self._check(x)
        return horner_reference(x, self)

    def _check(self, x: NDArray[np.integer]) -> None:
        full_width = x.dtype == self.dtype and self.bits == 8 * x.dtype.itemsize
        if full_width or x.size == 0:
            return
        lo, hi = int(x.min()), int(x.max())
        require(
            self.minimum <= lo and hi <= self.maximum,
            f"x must be in {self.minimum}..{self.maximum}, not {lo}..{hi}",
        )


_STAGES = 2  # a register after the multiplier and one after the adder


def timing(degree: int) -> UnitTiming:
    """Item: one value. Two stages per degree."""
    return UnitTiming(latency_cycles=_STAGES * degree, interval_cycles=1)


UNIT = Unit("horner", HornerSpec, timing)
