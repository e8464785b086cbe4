"""Outlier split: a token becomes dense codes, and its few large elements 16-bit side values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.requantize import MULT_BITS, SHIFT_BITS, requantize
from hwq.numerics.requantize import timing as requantize_timing
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import REQUANTIZE_WORK, Field, Unit, UnitTiming

SIDE = FixedPoint(16, 0)
"""Format of a side value: a whole number of its token's scale."""

NEVER = 1 << 31
"""A threshold that no 32-bit integer exceeds."""


def outlier_split_reference(
    x: NDArray[np.integer], spec: "OutlierSplitSpec"
) -> tuple[NDArray[np.uint8], NDArray[np.int16], int]:
    """int[R, C] -> codes uint8[R, C], side values int16[R, C], saturated, by Python integers.

    Row r is token r mod T.
    """
    codes, side = np.zeros(x.shape, np.uint8), np.zeros(x.shape, np.int16)
    mult, shift = spec.mult.tolist(), spec.shift.tolist()
    saturated = 0
    for row, values in enumerate(x.tolist()):
        token = row % len(mult)
        for column, value in enumerate(values):
            wide = half_up_shift(value * mult[token], shift[token])
            if abs(value) > spec.threshold:
                held = min(max(wide, SIDE.min), SIDE.max)
                codes[row, column], side[row, column] = spec.zero_point, held
            else:
                wide += spec.zero_point
                held = min(max(wide, 0), spec.top)
                codes[row, column] = held
            saturated += held != wide
    return codes, side, saturated


@dataclass(frozen=True, slots=True, eq=False)
class OutlierSplitSpec:
    """Codes of fixed-point tokens x[..., T, C] with one scale per token, without the outliers.

    q = (x*mult[n] + 2**(shift[n]-1)) >> shift[n] for token n, ties up. Where |x| > threshold, the
    code is zero_point, which stands for 0, and the side value is clamp(q, -32768, 32767);
    elsewhere the code is clamp(q + zero_point, 0, 2**bits - 1) and the side value 0. So code and
    side value together stand for scale[n] * (code - zero_point + side value), with
    mult[n] * 2**-shift[n] ~ 2**-frac / scale[n]. The multiplier is `requantize`'s.

    Parameters
    ----------
    mult : int64[T]
        Mantissas, in 0..65535.
    shift : int64[T]
        Shifts, in 1..62. With T = 1 all elements have one scale, whatever the shape of x.
    zero_point : int in 0..2**bits-1
        The code of 0, and of every outlier.
    threshold : int in 0..2**31
        In the fixed point of x; 2**31 for no outliers.
    bits : int in 2..8
        Width of a code.

    Notes
    -----
    Source: ADFQ-ViT, arXiv 2407.02763, per-patch outlier-aware quantizer. The released code keeps
    outliers in float32; as multiples of their token's scale they share its epilogue.
    """

    mult: NDArray[np.int64] = field(repr=False)
    shift: NDArray[np.int64] = field(repr=False)
    zero_point: int
    threshold: int
    bits: int = 8

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 8, f"bits must be in 2..8, not {self.bits}")
        require(
            0 <= self.zero_point <= self.top,
            f"zero_point must be in 0..{self.top}, not {self.zero_point}",
        )
        require(
            0 <= self.threshold <= NEVER, f"threshold must be in 0..2**31, not {self.threshold}"
        )
        shapes = f"{list(self.mult.shape)} and {list(self.shift.shape)}"
        require(
            self.mult.ndim == 1 and self.mult.size >= 1 and self.mult.shape == self.shift.shape,
            f"mult and shift must both be [T], T >= 1, not {shapes}",
        )
        for name, values, least, most in (
            ("mult", self.mult, 0, (1 << MULT_BITS) - 1),
            ("shift", self.shift, 1, 62),
        ):
            lo, hi = int(values.min()), int(values.max())
            require(
                least <= lo and hi <= most, f"{name} must be in {least}..{most}, not {lo}..{hi}"
            )

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    def parameters(self) -> dict[str, NDArray[np.int64]]:
        """Return the multiplier of every token."""
        return {"mult": self.mult[:, np.newaxis], "shift": self.shift[:, np.newaxis]}

    def with_parameters(self, parameters: Mapping[str, NDArray[np.int64]]) -> "OutlierSplitSpec":
        """Return the same unit for other tokens: int64[T, 1], or columns that are alike."""
        return replace(self, mult=parameters["mult"][:, 0], shift=parameters["shift"][:, 0])

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[..., T, C], |x| <= 2**31 -> dense codes uint8[..., T, C], saturated elements.

        Saturated are clamped codes and clamped side values; an outlier as such is not.
        """
        # a code is made of 0 where there is an outlier, a side value where there is none
        codes, clamped = self._requantize(x, False, self.zero_point, 0, self.top)
        _, cut = self._requantize(x, True, 0, SIDE.min, SIDE.max)
        return codes.astype(np.uint8, copy=False), clamped + cut

    def outliers(self, x: NDArray[np.integer]) -> NDArray[np.int16]:
        """int[..., T, C], |x| <= 2**31 -> side values int16[..., T, C], 0 but for outliers."""
        side, _ = self._requantize(x, True, 0, SIDE.min, SIDE.max)
        return side.astype(np.int16, copy=False)

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """Compute `compute` element by element."""
        codes, _, saturated = outlier_split_reference(self._rows(x), self)
        return codes.reshape(np.shape(x)), saturated

    def outliers_reference(self, x: NDArray[np.integer]) -> NDArray[np.int16]:
        """Compute `outliers` element by element."""
        _, side, _ = outlier_split_reference(self._rows(x), self)
        return side.reshape(np.shape(x))

    def _requantize(
        self, x: NDArray[np.integer], outliers: bool, zero_point: int, lo: int, hi: int
    ) -> tuple[NDArray[np.integer], int]:
        """Requantize x with its outliers, or all else, set to 0."""
        rows = self._rows(x)
        # not |x| > threshold: the magnitude of the smallest int32 does not fit in int32
        chosen = ((rows > self.threshold) | (rows < -self.threshold)) == outliers
        repeats = len(rows) // self.mult.size if self.mult.size > 1 else 1
        mult, shift = (np.tile(v, repeats)[:, np.newaxis] for v in (self.mult, self.shift))
        point = np.full((1, 1), zero_point, np.int64)
        values = np.where(chosen, rows, rows.dtype.type(0))
        codes, saturated = requantize(values, mult, shift, point, lo, hi)
        return codes.reshape(np.shape(x)), saturated

    def _rows(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """int[..., T, C] -> int32 or int64[R, C]; any shape for T = 1."""
        tokens = self.mult.size
        require(
            tokens == 1 or (x.ndim >= 2 and x.shape[-2] == tokens),
            f"x must be [..., {tokens}, C], not {list(x.shape)}",
        )
        narrow = x.dtype.itemsize <= 2 or x.dtype == np.int32
        wide: NDArray[np.integer] = np.asarray(x, np.int32 if narrow else np.int64)
        return wide.reshape(-1, x.shape[-1] if x.ndim else 1)


def timing() -> UnitTiming:
    """Item: `lanes` values. One pass: read the token's multiplier, then as `requantize`."""
    return UnitTiming(requantize_timing().latency_cycles + 1, interval_cycles=1)


UNIT = Unit(
    "outlier_split",
    OutlierSplitSpec,
    timing,
    ops=("encode",),
    work=(*REQUANTIZE_WORK, ("compare", 16, 16, 2)),
    streams=True,
    fields=(Field("mult", MULT_BITS, signed=False), Field("shift", SHIFT_BITS, signed=False)),
)
