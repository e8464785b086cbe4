"""Softmax of scores in log2 units: powers of two, their sum, and one reciprocal a row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics import exp2
from hwq.numerics._jit import kernel
from hwq.numerics._shift import right_shift
from hwq.numerics.exp2 import ACC_FRAC, COEFFICIENTS, _exp2_fraction
from hwq.numerics.isqrt import _bit_length
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import Unit, UnitTiming, ceil_div, each_row, reduction_stages

SUM_FRAC = 30
"""Fraction bits of a power in the sum: 4,096 floored powers lose less than 2**-18 of a row."""

RECIPROCAL_BITS = 17
"""Width of the reciprocal's mantissa, but for its top value 2**17."""

DIVISOR_BITS = 24
"""Leading bits of the sum that the division sees."""

MAX_COLUMNS = 4096
LANES = 32
"""Elements that are computed side by side, without a rest that is computed one by one."""

MAX_FRAC = 14
_GUARD = SUM_FRAC - ACC_FRAC


@kernel
def _reciprocal_sum(total: int) -> tuple[int, int]:
    """2**47 / total ~ reciprocal * 2**-octave, of total in 2**30..2**43-1."""
    octave = _bit_length(total) - SUM_FRAC - 1
    divisor = total >> (octave + SUM_FRAC + 1 - DIVISOR_BITS)
    unity = 1 << (DIVISOR_BITS - 1 + RECIPROCAL_BITS)
    return (unity + (divisor >> 1)) // divisor, octave


@kernel
def softmax_row(
    x: NDArray[np.signedinteger],
    columns: int,
    frac: int,
    powers: NDArray[np.uint32],
    out: NDArray[np.uint16],
) -> None:
    """int16 or int32[T] -> out uint16[T], UQ0.16; the formula is SoftmaxSpec's.

    All three are of one length, a multiple of LANES, of which T = `columns` count; what x holds
    behind them does not matter. `powers` is room.
    """
    width, guard = np.uint32(frac), np.uint32(_GUARD)
    mask, farthest = np.uint32((1 << frac) - 1), np.uint32(31 << frac)
    top = x[0]
    for i in range(columns):
        top = max(top, x[i])
    highest = np.uint32(top)
    for i in range(x.size):
        # no score is above the highest, so that a difference of any two has 32 bits, unsigned
        distance = min(np.uint32(highest - np.uint32(x[i])), farthest)
        # 31 << frac < 2**19 and acc << guard < 2**31: all of it fits in 32 bits
        fraction = np.uint32(np.uint32(farthest - distance) & mask)
        shift = right_shift(np.uint32(distance + mask), width)
        acc = _exp2_fraction(fraction, frac)
        powers[i] = right_shift(np.uint32(acc << guard), shift)
    total = np.int64(0)  # at most T * 2**30 <= 2**42
    for i in range(columns):
        total += np.int64(powers[i])
    reciprocal, octave = _reciprocal_sum(int(total))
    _scale(powers, reciprocal, ACC_FRAC + RECIPROCAL_BITS - 16 + octave, out)


@kernel
def _scale(powers: NDArray[np.uint32], reciprocal: int, down: int, out: NDArray[np.uint16]) -> None:
    """min((round(power / 2**13) * reciprocal + 2**(down-1)) >> down, 65535), for down >= 18.

    Both factors have 18 bits. The product is made of two halves of 27 bits: the low nine bits of
    the sum are those of the low half alone, as 2**(down-1) has none.
    """
    factor, low = np.uint32(reciprocal), np.uint32(511)
    half, right = np.uint32(1 << (down - 10)), np.uint32(down - 9)
    nine, guard = np.uint32(9), np.uint32(_GUARD)
    for i in range(out.size):
        power = right_shift(np.uint32(powers[i] + np.uint32(1 << (_GUARD - 1))), guard)
        top = np.uint32(right_shift(power, nine) * factor)
        rest = right_shift(np.uint32(np.uint32(power & low) * factor), nine)
        total = np.uint32(np.uint32(top + rest) + half)
        out[i] = min(right_shift(total, right), np.uint32(65535))


@kernel
def _softmax(x: NDArray[np.signedinteger], frac: int) -> NDArray[np.uint16]:
    """int16 or int32[R, T] -> uint16[R, T]: every row."""
    rows, columns = x.shape
    out = np.empty(x.shape, np.uint16)
    padded = (columns + LANES - 1) // LANES * LANES
    row, powers = np.empty(padded, x.dtype), np.empty(padded, np.uint32)
    results = np.empty(padded, np.uint16)
    for r in range(rows):
        for i in range(columns):
            row[i] = x[r, i]
        softmax_row(row, columns, frac, powers, results)
        for i in range(columns):
            out[r, i] = results[i]
    return out


def softmax_reference(x: NDArray[np.integer], frac: int) -> NDArray[np.uint16]:
    """int[R, T] -> uint16[R, T], UQ0.16: element by element with Python integers."""
    out = np.empty(np.shape(x), np.uint16)
    for r, scores in enumerate(np.asarray(x).tolist()):
        powers, highest = [], max(scores)
        for score in scores:
            exponent, fraction = divmod(score - highest, 1 << frac)
            acc = COEFFICIENTS[0]
            for coefficient in COEFFICIENTS[1:]:
                acc = half_up_shift(acc * fraction, frac) + coefficient
            powers.append((acc << _GUARD) >> min(-exponent, 31))
        total = sum(powers)
        octave = total.bit_length() - SUM_FRAC - 1
        divisor = total >> (octave + SUM_FRAC + 1 - DIVISOR_BITS)
        reciprocal = (2**41 + divisor) // (2 * divisor)
        for i, power in enumerate(powers):
            product = half_up_shift(power, _GUARD) * reciprocal
            out[r, i] = min(half_up_shift(product, 18 + octave), 65535)
    return out


@dataclass(frozen=True, slots=True)
class SoftmaxSpec:
    """p_i = 2**x_i / sum_j 2**x_j over the last axis, as UQ0.16 (65535 stands for 1.0 too).

    z_i = x_i - max(x) = -k_i * 2**frac + f_i, with 0 <= f_i < 2**frac
    e_i = (polynomial(f_i) * 2**13) >> min(k_i, 31)   the 18-bit polynomial of `exp2`; 30 fraction
    E = sum(e_i); octave = bit_length(E) - 31                                       bits, floored
    M = E >> (octave + 7), 24 bits; r = round(2**40 / M), one division a row
    p_i = min(round(round(e_i / 2**13) * r / 2**(18 + octave)), 65535)

    round is half up. A factor of log2(e) belongs into the scale that made the scores.

    Parameters
    ----------
    frac : int in 1..14
        Fraction bits of the scores: 2**frac is one octave.
    """

    frac: int

    def __post_init__(self) -> None:
        require(1 <= self.frac <= MAX_FRAC, f"frac must be in 1..{MAX_FRAC}, not {self.frac}")

    def compute(self, x: NDArray[np.signedinteger]) -> NDArray[np.uint16]:
        """int16 or int32[..., T] -> uint16[..., T], by the kernel."""
        self._check(x)
        flat = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        return _softmax(flat, self.frac).reshape(x.shape)

    def reference(self, x: NDArray[np.signedinteger]) -> NDArray[np.uint16]:
        """int16 or int32[..., T] -> uint16[..., T], by exact Python arithmetic."""
        self._check(x)
        return softmax_reference(x.reshape(-1, x.shape[-1]), self.frac).reshape(x.shape)

    @staticmethod
    def _check(x: NDArray[np.signedinteger]) -> None:
        require(x.dtype in (np.int16, np.int32), f"x must be int16 or int32, not {x.dtype}")
        columns = x.shape[-1] if x.ndim else 0
        require(1 <= columns <= MAX_COLUMNS, f"x must have 1..{MAX_COLUMNS} columns, not {columns}")


_QUOTIENT = 18  # bits, one per stage


def timing(length: int, lanes: int) -> UnitTiming:
    """Item: one row. Three passes: maximum; exponential and sum; scale by the sum's reciprocal.

    The passes of successive rows overlap, but those of one row follow each other.
    """
    words = ceil_div(length, lanes)
    powers = exp2.timing().latency_cycles + 1  # distance to the maximum; shift
    reciprocal = 2 + _QUOTIENT + 1  # leading one and shift; the octave again
    scaling = 3
    buffers = 2  # a register behind each
    parts = 2 * reduction_stages(lanes) + powers + reciprocal + scaling + buffers
    return UnitTiming(latency_cycles=2 * (words - 1) + parts, interval_cycles=words)


UNIT = Unit(
    "softmax",
    SoftmaxSpec,
    timing,
    ops=("softmax",),
    work=(
        ("compare", 16, 16, 1),  # maximum
        ("int_add", 16, 16, 1),  # distance from it
        ("int_multiply", 18, 14, 4),  # exp2, degree 4
        ("int_add", 18, 18, 4),
        ("shift", 32, 32, 2),
        ("int_add", 42, 42, 1),  # sum
        ("int_multiply", 18, 18, 1),  # times the reciprocal of the sum
        ("register", 16, 16, 2),  # the queues of scores and of powers
        ("register", 18, 18, 2),
    ),
    items=each_row,
)
