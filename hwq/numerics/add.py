"""Saturating sum of two fixed-point numbers of one format: the residual adder."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.unit import Unit, UnitTiming


def add_reference(
    a: NDArray[np.integer], b: NDArray[np.integer], spec: "AddSpec"
) -> tuple[NDArray[np.integer], int]:
    """int[...] twice -> int[...], saturated: in Python integers."""
    left, right = np.broadcast_arrays(a, b)
    wide = [x + y for x, y in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True)]
    held = [min(max(w, spec.out.min), spec.out.max) for w in wide]
    saturated = sum(h != w for h, w in zip(held, wide, strict=True))
    return np.array(held, spec.out.dtype).reshape(left.shape), saturated


@dataclass(frozen=True, slots=True)
class AddSpec:
    """y = clamp(a + b) to the format that all three have.

    Parameters
    ----------
    out : FixedPoint
        The format; at most 31 bits.
    """

    out: FixedPoint

    def __post_init__(self) -> None:
        require(self.out.bits <= 31, f"out must have at most 31 bits, not {self.out.bits}")

    def compute(
        self, a: NDArray[np.integer], b: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], int]:
        """int[...] twice -> int[...], number of saturated elements."""
        # both below 2**31, so that int64 is ample; operands of 16 bits stay in int32
        wide = np.add(a, b, dtype=np.int32 if self.out.bits <= 30 else np.int64)
        held = np.clip(wide, self.out.min, self.out.max)
        return held.astype(self.out.dtype), int(np.count_nonzero(held != wide))

    def reference(
        self, a: NDArray[np.integer], b: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], int]:
        """int[...] twice -> int[...], number of saturated elements, slowly."""
        return add_reference(a, b, self)


def timing() -> UnitTiming:
    """Item: `lanes` pairs. One pass: add and saturate."""
    return UnitTiming(latency_cycles=1, interval_cycles=1)


UNIT = Unit(
    "add",
    AddSpec,
    timing,
    ops=("add",),
    work=(("int_add", 16, 16, 1), ("compare", 16, 16, 2)),
    streams=True,
)
