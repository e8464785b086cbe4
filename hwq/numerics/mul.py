"""Product of two fixed-point numbers, rounded to a format: gates, and factors that stay."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import Unit, UnitTiming

OPERAND_BITS = 16
"""Width of an operand, with its sign."""

MAX_SHIFT = 31
_LEAST, _MOST = -(1 << (OPERAND_BITS - 1)), (1 << (OPERAND_BITS - 1)) - 1


def mul_reference(
    a: NDArray[np.integer], b: NDArray[np.integer], spec: "MulSpec"
) -> tuple[NDArray[np.integer], int]:
    """int[...] twice -> int[...], number of saturated elements: in Python integers."""
    left, right = np.broadcast_arrays(a, b)
    wide = []
    for x, y in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True):
        doubled_floor = (2 * x * y) // (1 << spec.shift)
        wide.append((doubled_floor + 1) // 2)
    held = [min(max(w, spec.out.min), spec.out.max) for w in wide]
    saturated = sum(h != w for h, w in zip(held, wide, strict=True))
    return np.array(held, spec.out.dtype).reshape(left.shape), saturated


@dataclass(frozen=True, slots=True)
class MulSpec:
    """y = clamp((a*b + 2**(shift-1)) >> shift) to the format of y; a shift of 0 rounds nothing.

    Parameters
    ----------
    shift : int in 0..31
        Fraction bits of a and of b, together, less those of y.
    out : FixedPoint
        Format of y; at most 32 bits.
    """

    shift: int
    out: FixedPoint

    def __post_init__(self) -> None:
        require(0 <= self.shift <= MAX_SHIFT, f"shift must be in 0..{MAX_SHIFT}, not {self.shift}")
        require(self.out.bits <= 32, f"out must have at most 32 bits, not {self.out.bits}")

    @staticmethod
    def between(a: FixedPoint, b: FixedPoint, out: FixedPoint) -> "MulSpec":
        """Return the unit for operands of two formats, whose result is `out` or the nearest to it.

        A product has no more fraction bits than both operands have, nor so few that the shift
        would leave nothing.
        """
        most = a.frac + b.frac
        frac = min(max(out.frac, most - MAX_SHIFT), most)
        return MulSpec(most - frac, FixedPoint(out.bits, frac, out.signed))

    def compute(
        self, a: NDArray[np.integer], b: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], int]:
        """int[...] twice, within 16 bits -> int[...], number of saturated elements."""
        self._check(a, b)
        # |a*b| <= 2**30, and 2**30 for rounding: 32 bits are ample, but not for numpy's clip
        wide = half_up_shift(np.multiply(a, b, dtype=np.int64), self.shift)
        held = np.clip(wide, self.out.min, self.out.max)
        return held.astype(self.out.dtype), int(np.count_nonzero(held != wide))

    def reference(
        self, a: NDArray[np.integer], b: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], int]:
        """int[...] twice, within 16 bits -> int[...], number of saturated elements, slowly."""
        self._check(a, b)
        return mul_reference(a, b, self)

    @staticmethod
    def _check(*operands: NDArray[np.integer]) -> None:
        for name, operand in zip("ab", operands, strict=True):
            if operand.dtype != np.int16 and operand.size:
                lo, hi = int(operand.min()), int(operand.max())
                require(
                    _LEAST <= lo and hi <= _MOST,
                    f"{name} must be in {_LEAST}..{_MOST}, not {lo}..{hi}",
                )


def timing() -> UnitTiming:
    """Item: `lanes` pairs. One pass: multiply; round; saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


UNIT = Unit(
    "mul",
    MulSpec,
    timing,
    ops=("mul",),
    work=(
        ("int_multiply", 16, 16, 1),
        ("int_add", 32, 32, 1),
        ("shift", 32, 32, 1),
        ("compare", 32, 32, 2),
    ),
    streams=True,
)
