"""Integer mean over tokens, for networks that pool instead of reading a class token."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.fixed_point import FixedPoint, dyadic
from hwq.numerics.requantize import requantize, requantize_reference
from hwq.numerics.requantize import timing as requantize_timing
from hwq.numerics.unit import REQUANTIZE_WORK, Unit, UnitTiming, each_column


@dataclass(frozen=True, slots=True)
class MeanSpec:
    """Sum of `count` integers times a dyadic multiplier; see `hwq.numerics.requantize`.

    Parameters
    ----------
    count : int
        Number of summands, at most 2**14: 32-bit summands then give sums below 2**46.
    mult, shift : int
        One over the count, and the change of scale.
    out : FixedPoint
        Format of the mean; saturates.
    """

    count: int
    mult: int
    shift: int
    out: FixedPoint

    def __post_init__(self) -> None:
        require(1 <= self.count <= 1 << 14, f"count must be in 1..16384, not {self.count}")

    @classmethod
    def from_float(cls, factor: float, count: int, out: FixedPoint) -> Self:
        """Build from the real factor on the sum."""
        mult, shift = dyadic(factor)
        return cls(count, mult, shift, out)

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[R, count] -> int[R, 1], number of saturated elements."""
        return requantize(*self._operands(x), self.out.min, self.out.max)

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """Same as `compute`, in Python integers."""
        return requantize_reference(*self._operands(x), self.out.min, self.out.max)

    def _operands(
        self, x: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        require(x.shape[-1] == self.count, f"x must have {self.count} columns, not {x.shape[-1]}")
        total = x.sum(-1, dtype=np.int64, keepdims=True)
        mult, shift, zero = (np.full((1, 1), v, np.int64) for v in (self.mult, self.shift, 0))
        return total, mult, shift, zero


def timing(count: int) -> UnitTiming:
    """Item: one mean of `count` values. An accumulator before `requantize`."""
    return UnitTiming(1 + requantize_timing().latency_cycles, interval_cycles=count)


UNIT = Unit(
    "mean",
    MeanSpec,
    timing,
    ops=("mean",),
    work=(("int_add", 46, 46, 1),),  # onto the sum
    items=each_column,
    result_work=REQUANTIZE_WORK,
    cut="columns",
)
