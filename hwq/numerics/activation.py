"""Activation functions of fixed-point values: two asymptotes and a short bump in parabolas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import cos, erfc, exp, pi, sqrt, tanh

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics import horner
from hwq.numerics._jit import kernel
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import Unit, UnitTiming

OUT_FRAC = 12
"""Fraction bits of the output, and of |x| inside the unit."""

ONE = 1 << OUT_FRAC
"""1.0 of the output."""

MIN_IN_FRAC = 8
MAX_IN_BITS = 20

BUMP_FRAC = 20
"""Fraction bits of the bump's coefficients."""

GUARD = BUMP_FRAC - OUT_FRAC
"""What the bump has more of them than the output."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A function by its asymptotes and its distance from them, which both signs share.

    Parameters
    ----------
    bump : callable
        float64 -> float64: the distance at |x|, never negative.
    segment_bits : int
        A segment is 2**segment_bits / 2**12 wide.
    segments : int
        Number of segments, from 0 on; beyond them the bump is taken as zero.
    step : bool
        True where the asymptotes are 0 and 1, approached from inside; False for 0 and x, both
        approached from below.
    """

    bump: Callable[[float], float]
    segment_bits: int
    segments: int
    step: bool = False

    @property
    def farthest(self) -> int:
        """The first |x| without a bump, with OUT_FRAC fraction bits."""
        return self.segments << self.segment_bits


def _gelu_tanh_bump(a: float) -> float:
    return a * (1.0 - tanh(sqrt(2.0 / pi) * (a + 0.044715 * a**3))) / 2.0


FUNCTIONS: Mapping[str, Curve] = {
    "gelu": Curve(lambda a: a * erfc(a / sqrt(2.0)) / 2.0, 9, 40),
    "gelu_tanh": Curve(_gelu_tanh_bump, 9, 40),
    "quick_gelu": Curve(lambda a: a / (1.0 + exp(1.702 * a)), 9, 56),
    "silu": Curve(lambda a: a / (1.0 + exp(a)), 10, 56),
    "sigmoid": Curve(lambda a: 1.0 / (1.0 + exp(a)), 10, 44, step=True),
    "relu": Curve(lambda a: 0.0, 9, 1),
}
"""Name -> curve: x Phi(x); its tanh form; x sigmoid(1.702 x); x sigmoid(x); sigmoid; max(x, 0)."""


@cache
def coefficients(function: str) -> NDArray[np.int32]:
    """int32[3, segments + 1]: per segment c2, c1, c0 of c0 + u*c1 + u*u*c2 with u in [0, 1).

    Interpolation at the three Chebyshev nodes, rounded to BUMP_FRAC bits; the last entry is zero.
    """
    curve = FUNCTIONS[function]
    table = np.zeros((3, curve.segments + 1), np.int32)
    width = 2.0 ** (curve.segment_bits - OUT_FRAC)
    u = [0.5 + 0.5 * cos((2 * k + 1) * pi / 6) for k in range(3)]
    for segment in range(curve.segments):
        h = [curve.bump((segment + node) * width) for node in u]
        slope = (h[1] - h[0]) / (u[1] - u[0])
        c2 = ((h[2] - h[1]) / (u[2] - u[1]) - slope) / (u[2] - u[0])
        c1 = slope - c2 * (u[0] + u[1])
        c0 = h[0] - u[0] * (c1 + u[0] * c2)
        table[:, segment] = [round(c * 2.0**BUMP_FRAC) for c in (c2, c1, c0)]
    table.flags.writeable = False
    return table


@cache
def _near_zero(function: str) -> NDArray[np.int16]:
    """int16[2*farthest + 1]: y, less max(v, 0) where that is an asymptote, at |v| <= farthest.

    The kernel looks up what the unit computes.
    """
    curve = FUNCTIONS[function]
    v = np.arange(-curve.farthest, curve.farthest + 1)
    segment, u = np.divmod(np.abs(v), 1 << curve.segment_bits)
    square, linear, constant = coefficients(function).astype(np.int64)[:, segment]
    # |c2| < 2**14, |c1| < 2**17 and u < 2**10: products below 2**27
    acc = half_up_shift(square * u, curve.segment_bits) + linear
    acc = half_up_shift(acc * u, curve.segment_bits) + constant
    wide = np.where(v < 0, acc, (ONE << GUARD) - acc) if curve.step else -acc
    bump: NDArray[np.int16] = half_up_shift(wide, GUARD).astype(np.int16)
    return bump


@kernel
def _activation(
    x: NDArray[np.int32], near_zero: NDArray[np.int16], up: int, slope: int
) -> NDArray[np.int32]:
    """int32[n] -> int32[n]: slope*max(v, 0) + near_zero at v = x << up, clamped to its ends."""
    out = np.empty(x.size, np.int32)
    farthest = np.int32(near_zero.size // 2)
    for i in range(x.size):
        # |x| <= 2**19 and up <= 4: 24 bits
        value = np.int32(x[i] << up)
        place = min(max(value, -farthest), farthest) + farthest
        out[i] = np.int32(slope) * max(value, np.int32(0)) + np.int32(near_zero[place])
    return out


def activation_reference(x: NDArray[np.integer], spec: "ActivationSpec") -> NDArray[np.int32]:
    """int[...] -> int32[...], OUT_FRAC fraction bits: the segments with Python integers."""
    curve = spec.curve
    square, linear, constant = coefficients(spec.function).tolist()
    values = []
    for code in np.asarray(x).ravel().tolist():
        value = code * 2 ** (OUT_FRAC - spec.in_frac)
        segment, u = divmod(abs(value), 1 << curve.segment_bits)
        segment = min(segment, curve.segments)
        acc = half_up_shift(square[segment] * u, curve.segment_bits) + linear[segment]
        acc = half_up_shift(acc * u, curve.segment_bits) + constant[segment]
        asymptote = ONE * (value >= 0) if curve.step else max(value, 0)
        inward = acc if curve.step and value < 0 else -acc
        values.append(half_up_shift(asymptote * (1 << GUARD) + inward, GUARD))
    return np.array(values, np.int32).reshape(np.shape(x))


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """y = f(x) with 12 fraction bits: an asymptote, less a bump h of |x| in parabolas.

    v = x << (12 - in_frac); segment = min(|v| >> segment_bits, segments)
    u = |v| mod 2**s; s = segment_bits; c = coefficients(function)[:, segment]
    acc = ((c2*u + 2**(s-1)) >> s) + c1; acc = ((acc*u + 2**(s-1)) >> s) + c0
    y = max(v, 0) + ((2**7 - acc) >> 8)
    sigmoid: y = (2**20 - acc + 2**7) >> 8 where v >= 0, (acc + 2**7) >> 8 elsewhere

    Ties go up; nothing saturates.

    Parameters
    ----------
    function : {"gelu", "gelu_tanh", "quick_gelu", "silu", "sigmoid", "relu"}
        A key of FUNCTIONS.
    in_frac : int in 8..12
        Fraction bits of x.
    in_bits : int in 2..20
        Width of the signed x.
    """

    function: str = "gelu"
    in_frac: int = 12
    in_bits: int = 16

    def __post_init__(self) -> None:
        require(
            self.function in FUNCTIONS,
            f"function must be one of {', '.join(FUNCTIONS)}, not {self.function!r}",
        )
        require(
            MIN_IN_FRAC <= self.in_frac <= OUT_FRAC,
            f"in_frac must be in {MIN_IN_FRAC}..{OUT_FRAC}, not {self.in_frac}",
        )
        require(
            2 <= self.in_bits <= MAX_IN_BITS,
            f"in_bits must be in 2..{MAX_IN_BITS}, not {self.in_bits}",
        )

    @property
    def curve(self) -> Curve:
        """The function's asymptotes and segments."""
        return FUNCTIONS[self.function]

    @property
    def out(self) -> FixedPoint:
        """Format of y: as many bits in front of the point as x has; of a step, 0 .. 1.0."""
        bits = OUT_FRAC + 2 if self.curve.step else self.in_bits + OUT_FRAC - self.in_frac
        return FixedPoint(bits, OUT_FRAC)

    @property
    def minimum(self) -> int:
        """Smallest x."""
        return -(1 << (self.in_bits - 1))

    @property
    def maximum(self) -> int:
        """Largest x."""
        return (1 << (self.in_bits - 1)) - 1

    def compute(self, x: NDArray[np.integer]) -> NDArray[np.int32]:
        """int[...] -> int32[...] in format `out`, by the kernel."""
        self._check(x)
        flat = np.ascontiguousarray(x, np.int32).ravel()
        up, slope = OUT_FRAC - self.in_frac, 0 if self.curve.step else 1
        return _activation(flat, _near_zero(self.function), up, slope).reshape(np.shape(x))

    def reference(self, x: NDArray[np.integer]) -> NDArray[np.int32]:
        """int[...] -> int32[...] in format `out`, by exact Python arithmetic."""
        self._check(x)
        return activation_reference(x, self)

    def _check(self, x: NDArray[np.integer]) -> None:
        full_width = x.dtype == np.int16 and self.in_bits >= 16
        if full_width or x.size == 0:
            return
        lo, hi = int(x.min()), int(x.max())
        require(
            self.minimum <= lo and hi <= self.maximum,
            f"x must be in {self.minimum}..{self.maximum}, not {lo}..{hi}",
        )


def timing() -> UnitTiming:
    """Item: `lanes` values. One pass: table look-up, a degree-2 polynomial, a final add."""
    return UnitTiming(latency_cycles=horner.timing(2).latency_cycles + 2, interval_cycles=1)


UNIT = Unit(
    "activation",
    ActivationSpec,
    timing,
    ops=("activation",),
    work=(
        ("int_multiply", 16, 9, 2),  # degree 2 on a segment
        ("int_add", 24, 24, 3),
        ("shift", 32, 32, 1),
    ),
    streams=True,
)
