"""GELU of a fixed-point value: the rectifier minus a short even bump, in quadratic segments."""

from dataclasses import dataclass
from math import cos, erfc, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.rounding import half_up_shift

OUT_FRAC = 12
"""Fraction bits of the output, and of |x| inside the unit."""

SEGMENT_BITS = 9
"""A segment is 2**9 / 2**12 = 1/8 wide."""

SEGMENTS = 40
"""Segments of the bump, [0, 5); beyond it is below 1.5e-6 and taken as zero."""

FARTHEST = SEGMENTS << SEGMENT_BITS
"""The first |x| without a bump, 5.0."""

BUMP_FRAC = 20
"""Fraction bits of the bump's coefficients."""

_GUARD = BUMP_FRAC - OUT_FRAC


def _bump_float(a: float) -> float:
    """float64 -> float64: a * Phi(-a), the part of GELU that is not the rectifier."""
    return a * erfc(a / sqrt(2.0)) / 2.0


def _segment_table() -> NDArray[np.int32]:
    """int32[3, 41]: per segment c2, c1, c0 of c0 + u*c1 + u*u*c2 with u in [0, 1) across it.

    Interpolation at the three Chebyshev nodes, rounded to BUMP_FRAC bits; the last entry is zero.
    """
    table = np.zeros((3, SEGMENTS + 1), np.int32)
    u = [0.5 + 0.5 * cos((2 * k + 1) * pi / 6) for k in range(3)]
    for segment in range(SEGMENTS):
        h = [_bump_float((segment + node) / 8) for node in u]
        slope = (h[1] - h[0]) / (u[1] - u[0])
        c2 = ((h[2] - h[1]) / (u[2] - u[1]) - slope) / (u[2] - u[0])
        c1 = slope - c2 * (u[0] + u[1])
        c0 = h[0] - u[0] * (c1 + u[0] * c2)
        table[:, segment] = [round(c * 2.0**BUMP_FRAC) for c in (c2, c1, c0)]
    return table


TABLE = _segment_table()
TABLE.flags.writeable = False


def _bump(a: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n] >= 0 with 12 fraction bits -> int64[n]: the bump with BUMP_FRAC fraction bits."""
    square, linear, constant = TABLE.astype(np.int64)[:, np.minimum(a >> SEGMENT_BITS, SEGMENTS)]
    u = a % (1 << SEGMENT_BITS)
    # |c2| < 2**13, |c1| < 2**17 and u < 2**9: products below 2**26
    acc = half_up_shift(square * u, SEGMENT_BITS) + linear
    bump: NDArray[np.int64] = half_up_shift(acc * u, SEGMENT_BITS) + constant
    return bump


# -bump of every a in [0, 5], rounded to the output: the kernel looks up what the unit computes
_NEGATIVE_BUMP = half_up_shift(-_bump(np.arange(FARTHEST + 1)), _GUARD).astype(np.int16)


@kernel
def _gelu(x: NDArray[np.int32], bump: NDArray[np.int16], up: int) -> NDArray[np.int32]:
    """int32[n] -> int32[n]: max(v, 0) + bump[min(|v|, 5.0)] with v = x << up, 12 fraction bits."""
    out = np.empty(x.size, np.int32)
    last = np.int32(bump.size - 1)
    for i in range(x.size):
        # |x| <= 2**19 and up <= 4: 24 bits
        value = np.int32(x[i] << up)
        near = np.uint32(min(np.int32(abs(value)), last))
        out[i] = max(value, np.int32(0)) + np.int32(bump[near])
    return out


def gelu_reference(x: NDArray[np.integer], in_frac: int) -> NDArray[np.int32]:
    """int[...] -> int32[...], 12 fraction bits: the segments with Python integers."""
    square, linear, constant = TABLE.tolist()
    values = []
    for code in np.asarray(x).ravel().tolist():
        value = code * 2 ** (OUT_FRAC - in_frac)
        segment, u = divmod(abs(value), 1 << SEGMENT_BITS)
        segment = min(segment, SEGMENTS)
        acc = half_up_shift(square[segment] * u, SEGMENT_BITS) + linear[segment]
        acc = half_up_shift(acc * u, SEGMENT_BITS) + constant[segment]
        values.append(half_up_shift(max(value, 0) * (1 << _GUARD) - acc, _GUARD))
    return np.array(values, np.int32).reshape(np.shape(x))


@dataclass(frozen=True, slots=True)
class GeluSpec:
    """y = x * Phi(x) = max(x, 0) - h(|x|), with 12 fraction bits; h(a) = a * Phi(-a).

    v = x << (12 - in_frac); segment = min(|v| >> 9, 40); u = |v| mod 2**9
    acc = ((c2*u + 2**8) >> 9) + c1; acc = ((acc*u + 2**8) >> 9) + c0, c from TABLE[:, segment]
    y = max(v, 0) + ((2**7 - acc) >> 8)

    Ties go up; nothing saturates. The kernel looks the last term up in a table of all |v| <= 5.

    Parameters
    ----------
    in_frac : int in 8..12
        Fraction bits of x.
    in_bits : int in 2..20
        Width of the signed x.
    """

    in_frac: int = 12
    in_bits: int = 16

    def __post_init__(self) -> None:
        require(8 <= self.in_frac <= OUT_FRAC, f"in_frac must be in 8..12, not {self.in_frac}")
        require(2 <= self.in_bits <= 20, f"in_bits must be in 2..20, not {self.in_bits}")

    @property
    def minimum(self) -> int:
        """Smallest x."""
        return -(1 << (self.in_bits - 1))

    @property
    def maximum(self) -> int:
        """Largest x."""
        return (1 << (self.in_bits - 1)) - 1

    def compute(self, x: NDArray[np.integer]) -> NDArray[np.int32]:
        """int[...] -> int32[...] with 12 fraction bits, by the kernel."""
        self._check(x)
        flat = np.ascontiguousarray(x, np.int32).ravel()
        return _gelu(flat, _NEGATIVE_BUMP, OUT_FRAC - self.in_frac).reshape(np.shape(x))

    def reference(self, x: NDArray[np.integer]) -> NDArray[np.int32]:
        """int[...] -> int32[...] with 12 fraction bits, by exact Python arithmetic."""
        self._check(x)
        return gelu_reference(x, self.in_frac)

    def _check(self, x: NDArray[np.integer]) -> None:
        full_width = x.dtype == np.int16 and self.in_bits >= 16
        if full_width or x.size == 0:
            return
        lo, hi = int(x.min()), int(x.max())
        require(
            self.minimum <= lo and hi <= self.maximum,
            f"x must be in {self.minimum}..{self.maximum}, not {lo}..{hi}",
        )
