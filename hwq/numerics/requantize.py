"""Dyadic requantization: an accumulator becomes a code by one multiply, one shift, one clamp."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.fixed_point import FixedPoint, smallest_dtype
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import Unit, UnitTiming

MULT_BITS = 16
SHIFT_BITS = 6
ACC_BITS = 46

# Widths of both kernels: |acc| < 2**46 and |mult| < 2**16, so |acc*mult| < 2**62; the rounding
# term is at most 2**61, and 2**62 + 2**61 < 2**63. After the shift (>= 1) it is below 2**62, to
# which a 32-bit zero_point adds without overflow.


@kernel
def _requantize_rows(
    acc: NDArray[np.integer],
    mult: NDArray[np.int32],
    shift: NDArray[np.int32],
    zero_point: NDArray[np.int32],
    lo: int,
    hi: int,
    dtype: DTypeLike,
) -> tuple[NDArray[np.integer], int]:
    """int[R,C], 3 x int32[1 or R] -> dtype[R,C], saturated: one multiplier a row. Ties go up."""
    rows, columns = acc.shape
    out = np.empty((rows, columns), dtype)
    saturated = 0
    for i in range(rows):
        scale = np.int64(mult[min(i, mult.size - 1)])
        right = np.int64(shift[min(i, shift.size - 1)])
        half = (np.int64(1) << right) >> 1
        zero = np.int64(zero_point[min(i, zero_point.size - 1)])
        for j in range(columns):
            wide = ((np.int64(acc[i, j]) * scale + half) >> right) + zero
            held = min(max(wide, lo), hi)
            saturated += held != wide
            out[i, j] = held
    return out, saturated


@kernel
def _requantize_columns(
    acc: NDArray[np.integer],
    mult: NDArray[np.int32],
    shift: NDArray[np.int32],
    zero_point: NDArray[np.int32],
    lo: int,
    hi: int,
    dtype: DTypeLike,
) -> tuple[NDArray[np.integer], int]:
    """int[R,C], 3 x int32[r,C] -> dtype[R,C], saturated: r is 1 or R. Ties go up."""
    rows, columns = acc.shape
    out = np.empty((rows, columns), dtype)
    saturated = 0
    for i in range(rows):
        p = min(i, mult.shape[0] - 1)
        for j in range(columns):
            right = np.int64(shift[p, j])
            half = (np.int64(1) << right) >> 1
            wide = ((np.int64(acc[i, j]) * mult[p, j] + half) >> right) + zero_point[p, j]
            held = min(max(wide, lo), hi)
            saturated += held != wide
            out[i, j] = held
    return out, saturated


@kernel
def _fits(values: NDArray[np.integer], lo: int, hi: int) -> bool:
    """int[n] -> whether all lie in lo..hi."""
    outside = 0
    for i in range(values.size):
        outside += (values[i] < lo) | (values[i] > hi)
    return outside == 0


def requantize(
    acc: NDArray[np.integer],
    mult: NDArray[np.int64],
    shift: NDArray[np.int64],
    zero_point: NDArray[np.int64],
    lo: int,
    hi: int,
) -> tuple[NDArray[np.integer], int]:
    """int[R,C], 3 x int64[r,c] -> int[R,C], int, with r in {1, R} and c in {1, C}.

    clamp(((acc*mult + 2**(shift-1)) >> shift) + zero_point, lo, hi): ties go up. The codes have
    the smallest type that holds lo..hi; the second result counts the elements that were clamped.

    Parameters
    ----------
    acc : int32 or int64[R, C]
        |acc| < 2**46.
    mult : int64[r, c]
        |mult| < 2**16.
    shift : int64[r, c]
        In 1..62.
    zero_point : int64[r, c]
        In 32 bits. The three may differ in r and c.
    lo, hi : int
        Range of the codes, within 32 bits.
    """
    dtype = _check(acc, mult, shift, zero_point, lo, hi)
    acc = np.ascontiguousarray(acc)
    # int32 lets the compiler take a 32 x 32 -> 64-bit multiply instead of a 64 x 64 one
    m, s, z = mult.astype(np.int32), shift.astype(np.int32), zero_point.astype(np.int32)
    if m.shape[1] == s.shape[1] == z.shape[1] == 1:
        return _requantize_rows(acc, m.ravel(), s.ravel(), z.ravel(), lo, hi, dtype)
    if not m.shape == s.shape == z.shape:
        m, s, z = np.broadcast_arrays(m, s, z)
    m, s, z = (np.ascontiguousarray(a) for a in (m, s, z))
    return _requantize_columns(acc, m, s, z, lo, hi, dtype)


def requantize_reference(
    acc: NDArray[np.integer],
    mult: NDArray[np.int64],
    shift: NDArray[np.int64],
    zero_point: NDArray[np.int64],
    lo: int,
    hi: int,
) -> tuple[NDArray[np.integer], int]:
    """Compute `requantize` in Python integers, where no width can overflow."""
    dtype = _check(acc, mult, shift, zero_point, lo, hi)
    operands = np.broadcast_arrays(acc, mult, shift, zero_point)
    wide = [
        half_up_shift(a * m, s) + z
        for a, m, s, z in zip(*(o.ravel().tolist() for o in operands), strict=True)
    ]
    held = [min(max(w, lo), hi) for w in wide]
    saturated = sum(h != w for h, w in zip(held, wide, strict=True))
    return np.array(held, dtype).reshape(acc.shape), saturated


def _check(
    acc: NDArray[np.integer],
    mult: NDArray[np.int64],
    shift: NDArray[np.int64],
    zero_point: NDArray[np.int64],
    lo: int,
    hi: int,
) -> np.dtype[np.integer]:
    """Raise SpecError unless shapes and ranges hold; return the type of the codes."""
    require(
        acc.ndim == 2 and acc.dtype in (np.int32, np.int64),
        f"acc must be int32 or int64[R, C], not {acc.dtype}{list(acc.shape)}",
    )
    bounds = {
        "mult": (mult, 1 - (1 << MULT_BITS), (1 << MULT_BITS) - 1),
        "shift": (shift, 1, 62),
        "zero_point": (zero_point, -(1 << 31), (1 << 31) - 1),
    }
    rows, columns = acc.shape
    for name, (values, least, most) in bounds.items():
        fits = values.ndim == 2 and values.shape[0] in (1, rows) and values.shape[1] in (1, columns)
        require(fits, f"{name} must broadcast to {list(acc.shape)}, not {list(values.shape)}")
        require(_fits(values.ravel(), least, most), f"{name} must be in {least}..{most}")
    if acc.dtype == np.int64:
        limit = (1 << ACC_BITS) - 1
        require(_fits(acc.ravel(), -limit, limit), f"|acc| must be below 2**{ACC_BITS}")
    require(-(1 << 31) <= lo <= hi < 1 << 31, f"lo..hi must be within 32 bits, not {lo}..{hi}")
    return smallest_dtype(lo, hi)


@dataclass(frozen=True, slots=True)
class RequantizeSpec:
    """One multiplier for every accumulator: the hardware unit.

    code = clamp(((acc*mult + 2**(shift-1)) >> shift) + zero_point) to the range of `out_bits`.

    Parameters
    ----------
    mult : int in 0..65535
        Mantissa of the scale.
    shift : int in 1..62
        The scale is mult * 2**-shift.
    zero_point : int
        Added after the shift; within 32 bits.
    out_bits : int in 1..31
        Width of a code.
    signed : bool
        Whether the codes are two's complement.
    """

    mult: int
    shift: int
    zero_point: int = 0
    out_bits: int = 8
    signed: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.mult < 1 << MULT_BITS, f"mult must be in 0..65535, not {self.mult}")
        require(1 <= self.shift <= 62, f"shift must be in 1..62, not {self.shift}")
        require(
            -(1 << 31) <= self.zero_point < 1 << 31,
            f"zero_point must be within 32 bits, not {self.zero_point}",
        )
        require(1 <= self.out_bits <= 31, f"out_bits must be in 1..31, not {self.out_bits}")

    @property
    def out(self) -> FixedPoint:
        """Range and type of the codes."""
        return FixedPoint(self.out_bits, 0, self.signed)

    def compute(self, acc: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements."""
        codes, saturated = requantize(*self._operands(acc))
        return cast(NDArray[np.integer], codes.reshape(np.shape(acc))), saturated

    def reference(self, acc: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements, slowly."""
        codes, saturated = requantize_reference(*self._operands(acc))
        return cast(NDArray[np.integer], codes.reshape(np.shape(acc))), saturated

    def _operands(
        self, acc: NDArray[np.integer]
    ) -> tuple[
        NDArray[np.integer], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, int
    ]:
        values = np.asarray(acc)
        if values.dtype not in (np.int32, np.int64):
            values = values.astype(np.int64 if values.dtype.itemsize > 2 else np.int32)
        m, s, z = (np.full((1, 1), v, np.int64) for v in (self.mult, self.shift, self.zero_point))
        return values.reshape(1, -1), m, s, z, self.out.min, self.out.max


def timing() -> UnitTiming:
    """Item: `lanes` accumulators. One pass: multiply, round and shift, saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


UNIT = Unit("requantize", RequantizeSpec, timing)
