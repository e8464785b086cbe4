"""Layer normalisation of fixed-point tokens: exact mean and variance, one root, one division."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.isqrt import _bit_length, _isqrt_value
from hwq.numerics.rounding import half_up_float, half_up_shift
from hwq.numerics.unit import Field, Unit, UnitTiming, ceil_div, each_row, reduction_stages

ROOT_BITS = 18
"""Width of the standard deviation's mantissa, and of its reciprocal."""

NORM_FRAC = 16
"""Fraction bits of the normalised value (x - mean) / std."""

MAX_DIM = 8192
MAX_EPSILON = (1 << 60) - 1
MAX_GAMMA = (1 << 15) - 1
MAX_GAMMA_SHIFT = 31
MAX_BETA = (1 << 60) - 1


@kernel
def _reciprocal_std(variance: int) -> tuple[int, int]:
    """1/sqrt(variance) ~ reciprocal * 2**-shift, of variance in 1..2**61-1."""
    # the mantissa has 35 or 36 bits, so its root has 18 and the reciprocal is in 2**17..2**18
    half = (_bit_length(variance) - 2 * ROOT_BITS + 1) >> 1
    if half > 0:
        mantissa = variance >> (2 * half)
    else:
        mantissa = variance << (-2 * half)
    reciprocal = (1 << (2 * ROOT_BITS - 1)) // _isqrt_value(mantissa, ROOT_BITS)
    return reciprocal, 2 * ROOT_BITS - 1 + half


Affine = tuple[NDArray[np.int32], NDArray[np.int64], int, int, int, int, bool]
"""gamma int32[D], beta int64[D], epsilon, last shift, least, most, whether mean is subtracted."""


@kernel
def layer_norm_rows(x: NDArray[np.int16], norm: Affine, out: NDArray[np.signedinteger]) -> int:
    """int16[T, D] -> out int[T, D], saturations; the formula is LayerNormSpec's."""
    tokens, dim = x.shape
    gamma, beta, epsilon, shift, lo, hi, centered = norm
    half = (1 << shift) >> 1
    saturated = 0
    for t in range(tokens):
        # D <= 2**13 and |x| <= 2**15: |total| <= 2**28, squares <= 2**43, variance <= 2**56
        total = np.int64(0)
        squares = np.int64(0)
        for i in range(dim):
            total += np.int64(x[t, i])
            squares += np.int64(x[t, i]) * np.int64(x[t, i])
        if not centered:
            total = np.int64(0)
        reciprocal, down = _reciprocal_std(dim * squares - total * total + epsilon)
        down -= NORM_FRAC  # in 2..32, as variance + epsilon is in 1..2**61-1
        up = 1 << (down - 1)
        narrow_total, narrow_dim = np.int32(total), np.int32(dim)
        for i in range(dim):
            # |centred| <= 2**29, reciprocal <= 2**18; |norm| <= sqrt(D)*2**16 < 2**23;
            # |norm * gamma| < 2**38 and |beta| < 2**60 leave room for the half
            centred = np.int32(narrow_dim * np.int32(x[t, i])) - narrow_total
            norm_i = (np.int64(centred) * np.int64(reciprocal) + up) >> down
            wide = (np.int64(np.int32(norm_i)) * np.int64(gamma[i]) + beta[i] + half) >> shift
            value = min(max(wide, lo), hi)
            saturated += value != wide
            out[t, i] = value
    return saturated


def layer_norm_reference(
    x: NDArray[np.integer], layer_norm: "LayerNorm"
) -> tuple[NDArray[np.int32], int]:
    """int[T, D] -> int32[T, D], saturations: row by row, scalars as Python integers."""
    spec = layer_norm.spec
    out = np.empty(np.shape(x), np.int32)
    saturated = 0
    for t, row in enumerate(np.asarray(x, np.int64)):
        centred = spec.dim * row - (row.sum() if spec.centered else 0)
        scaled_variance = sum(v * v for v in centred.tolist()) // spec.dim + spec.epsilon
        half = (scaled_variance.bit_length() + 1) // 2 - ROOT_BITS
        root = isqrt((scaled_variance << 2 * ROOT_BITS) >> 2 * (half + ROOT_BITS))
        reciprocal = (1 << (2 * ROOT_BITS - 1)) // root
        norm = half_up_shift(centred * reciprocal, 2 * ROOT_BITS - 1 + half - NORM_FRAC)
        wide = half_up_shift(norm * layer_norm.gamma + layer_norm.beta, spec.shift)
        out[t] = np.clip(wide, spec.out.min, spec.out.max)
        saturated += int((out[t] != wide).sum())
    return out, saturated


@dataclass(frozen=True, slots=True)
class LayerNormSpec:
    """y = (x - mean) / sqrt(variance + eps) * gamma + beta over the last axis, in integers.

    S = sum(x); d_i = D*x_i - S; V = D*sum(x**2) - S**2 + epsilon   (all exact)
    half = (bit_length(V) - 35) >> 1; R = floor(sqrt(floor(V / 4**half))), 18 bits
    Q = floor(2**35 / R); n_i = round(d_i*Q / 2**(19 + half))       (16 fraction bits)
    y_i = saturate(round((n_i*gamma_i + beta_i) / 2**shift)), shift = 16 + gamma_shift - out.frac

    round is half up. The number of saturated elements is counted. Without centering S = 0: root
    mean square normalisation, RMSNorm.

    Parameters
    ----------
    dim : int in 1..8192
        Length of a token, D.
    epsilon : int in 1..2**60-1
        eps * D**2 * 2**(2*in_frac), with in_frac the fraction bits of x.
    gamma_shift : int in 0..31
        Fraction bits of the 16-bit gamma.
    out : FixedPoint
        Format of y: at most 32 bits signed or 31 unsigned, out.frac in gamma_shift-15 ..
        gamma_shift+16.
    centered : bool
        Whether the mean is subtracted.
    """

    dim: int
    epsilon: int
    gamma_shift: int
    out: FixedPoint
    centered: bool = True

    def __post_init__(self) -> None:
        require(1 <= self.dim <= MAX_DIM, f"dim must be in 1..{MAX_DIM}, not {self.dim}")
        require(
            1 <= self.epsilon <= MAX_EPSILON,
            f"epsilon must be in 1..{MAX_EPSILON}, not {self.epsilon}",
        )
        require(
            0 <= self.gamma_shift <= MAX_GAMMA_SHIFT,
            f"gamma_shift must be in 0..{MAX_GAMMA_SHIFT}, not {self.gamma_shift}",
        )
        widest = 31 + self.out.signed
        require(self.out.bits <= widest, f"out.bits must be at most {widest}, not {self.out.bits}")
        least, most = self.gamma_shift - 15, self.gamma_shift + NORM_FRAC
        require(
            least <= self.out.frac <= most,
            f"out.frac must be in {least}..{most}, not {self.out.frac}",
        )

    @property
    def shift(self) -> int:
        """The last right shift, from the product's fraction bits to those of y: 0..31."""
        return NORM_FRAC + self.gamma_shift - self.out.frac

    @staticmethod
    def from_float(
        gamma: NDArray[np.floating],
        beta: NDArray[np.floating],
        eps: float,
        in_frac: int,
        out: FixedPoint,
        centered: bool = True,
    ) -> "LayerNorm":
        """float[D] gamma, beta -> LayerNorm, with the finest common shift of gamma.

        eps is rounded to the grid of the integer variance, but not below one step of it.
        """
        wide_gamma = np.asarray(gamma, np.float64)
        wide_beta = np.asarray(beta, np.float64)
        largest = float(np.abs(wide_gamma).max(initial=0.0))
        require(largest < MAX_GAMMA, f"gamma must be below {MAX_GAMMA}, not {largest}")
        # as fine as the last shift allows
        gamma_shift = min(MAX_GAMMA_SHIFT, out.frac + 15)
        while np.ldexp(largest, gamma_shift) > MAX_GAMMA:
            gamma_shift -= 1
        step = float(wide_gamma.size**2) * 2.0 ** (2 * in_frac)
        epsilon = max(round(eps * step), 1)
        spec = LayerNormSpec(wide_gamma.size, epsilon, gamma_shift, out, centered)
        codes = half_up_float(np.ldexp(wide_gamma, gamma_shift)).astype(np.int32)
        limit = MAX_BETA / 2.0 ** (gamma_shift + NORM_FRAC)
        worst = float(np.abs(wide_beta).max(initial=0.0))
        require(worst < limit, f"beta must be below {limit}, not {worst}")
        offsets = half_up_float(np.ldexp(wide_beta, gamma_shift + NORM_FRAC)).astype(np.int64)
        return LayerNorm(spec, codes, offsets)


@dataclass(frozen=True, slots=True, eq=False)
class LayerNorm:
    """A LayerNormSpec with its parameters as integers.

    Parameters
    ----------
    spec : LayerNormSpec
    gamma : int32[D]
        In -32767..32767, gamma_shift fraction bits.
    beta : int64[D]
        Below 2**60 in magnitude, 16 + gamma_shift fraction bits.
    """

    spec: LayerNormSpec
    gamma: NDArray[np.int32] = field(repr=False)
    beta: NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        shape = (self.spec.dim,)
        for name, values, top in (
            ("gamma", self.gamma, MAX_GAMMA),
            ("beta", self.beta, MAX_BETA),
        ):
            require(values.shape == shape, f"{name} must have shape {shape}, not {values.shape}")
            lo, hi = int(values.min()), int(values.max())
            require(-top <= lo and hi <= top, f"{name} must be in {-top}..{top}, not {lo}..{hi}")

    def parameters(self) -> dict[str, NDArray[np.int64]]:
        """Return gamma and beta."""
        return {"gamma": self.gamma.astype(np.int64), "beta": self.beta}

    def with_parameters(self, parameters: Mapping[str, NDArray[np.int64]]) -> "LayerNorm":
        """Return the same unit with another gamma and beta: int64[D], or rows that are alike."""
        gamma, beta = (np.atleast_2d(parameters[name])[0] for name in ("gamma", "beta"))
        return replace(self, gamma=gamma.astype(np.int32), beta=beta)

    @property
    def affine(self) -> Affine:
        """What `layer_norm_rows` takes."""
        spec = self.spec
        gamma, beta = self.gamma.astype(np.int32), self.beta.astype(np.int64)
        limits = spec.out.min, spec.out.max
        return gamma, beta, spec.epsilon, spec.shift, *limits, spec.centered

    def compute(self, x: NDArray[np.int16]) -> tuple[NDArray[np.int32], int]:
        """int16[..., D] -> int32[..., D] in format spec.out, saturations; by the kernel."""
        self._check(x)
        rows = np.ascontiguousarray(x).reshape(-1, self.spec.dim)
        out = np.empty(rows.shape, np.int32)
        saturated = layer_norm_rows(rows, self.affine, out)
        return out.reshape(x.shape), int(saturated)

    def reference(self, x: NDArray[np.int16]) -> tuple[NDArray[np.int32], int]:
        """int16[..., D] -> int32[..., D] in format spec.out, saturations; step by step."""
        self._check(x)
        y, saturated = layer_norm_reference(x.reshape(-1, self.spec.dim), self)
        return y.reshape(x.shape), saturated

    def _check(self, x: NDArray[np.int16]) -> None:
        require(x.dtype == np.int16, f"x must be int16, not {x.dtype}")
        dim = x.shape[-1] if x.ndim else 0
        require(dim == self.spec.dim, f"x must have {self.spec.dim} columns, not {dim}")


_QUOTIENT = 19  # bits, one per stage


def timing(length: int, lanes: int) -> UnitTiming:
    """Item: one row. Two passes, sums then normalise, around a root and a division.

    Both are pipelined, one bit per stage. The passes of successive rows overlap.
    """
    words = ceil_div(length, lanes)
    sums = 1 + reduction_stages(lanes)  # the square
    deviation = 6 + ROOT_BITS + _QUOTIENT  # variance (3), leading one, shift (2)
    buffers = 2  # a register behind each
    affine = 11
    return UnitTiming(words - 1 + sums + deviation + buffers + affine, interval_cycles=words)


UNIT = Unit(
    "layer_norm",
    LayerNorm,
    timing,
    ops=("layer_norm",),
    work=(
        ("int_add", 32, 32, 2),  # sum and sum of squares
        ("int_multiply", 16, 16, 1),  # square
        ("int_multiply", 16, 12, 1),  # times the length
        ("int_add", 28, 28, 1),  # minus the sum
        ("int_multiply", 28, 18, 1),  # times the reciprocal of the deviation
        ("int_multiply", 23, 16, 1),  # times gamma
        ("int_add", 40, 40, 1),  # plus beta
        ("shift", 40, 40, 2),
        ("register", 16, 16, 2),  # the queue of the token
    ),
    items=each_row,
    fields=(
        Field("gamma", MAX_GAMMA.bit_length() + 1),
        Field("beta", MAX_BETA.bit_length() + 1),
    ),
)
