"""Uniform codes with a scale per token; outliers leave the dense path as 16-bit values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwq.errors import require
from hwq.numerics.fixed_point import dyadic_array
from hwq.numerics.outlier_join import MAX_ROW_MULT, OutlierJoinSpec, check_join
from hwq.numerics.outlier_split import NEVER, SIDE, OutlierSplitSpec
from hwq.quantizers.base import Quantizer, check_real, check_whole
from hwq.quantizers.mac_form import MacForm
from hwq.quantizers.uniform import Uniform

_FRACTIONS = (1.0, 0.9999, 0.999, 0.99)
_SIDE_HEADROOM = 2.0**-14  # an outlier twice as large as any that was seen still fits in 16 bits


@dataclass(frozen=True, eq=False)
class PerPatchOutlier(Quantizer):
    """floor(x / scale[n] + 1/2) for token n: a code, or a 16-bit side value where |x| > threshold.

    The code of an inlier is clamp(floor(x / scale[n] + 1/2) + zero_point) and stands for
    scale[n] * (code - zero_point). The code of an outlier is zero_point, which stands for 0, and
    its side value q stands for scale[n] * q. The array multiplies codes without knowing of
    outliers; a sparse side path adds q times a column of the weight (`OutlierJoinSpec`).

    Scales are static, by the position of the token: unit * row_mult[n] with an integer row_mult,
    so what differs between tokens is one exact integer factor behind the accumulator.

    Source: ADFQ-ViT, arXiv 2407.02763, per-patch outlier-aware quantizer. Where this differs from
    the released code: outliers are integers, not float32; the threshold is a quantile of the
    layer's input, not 5 or 10 (trap T18); rounding passes gradients (trap T17); and there is one
    zero point for all tokens. One per token would make the correction an outer product for every
    matrix product. Once the outliers are gone, tokens after LayerNorm are nearly symmetric; on
    DeiT-T one zero point makes no larger error than separate ones (docs/units/outlier_split.md).

    Parameters
    ----------
    unit : float Tensor
        Positive; one number.
    row_mult : integer Tensor [T, 1]
        In 1..4095; one number for all tokens where T = 1.
    zero_point : integer Tensor
        The code of 0, in 0..2**bits-1; one number.
    threshold : float Tensor
        Largest magnitude of an inlier, possibly infinite; one number.
    bits : int in 2..8
        Width of a code.
    outlier_fraction : float in 0..1
        Share of the calibration values that were outliers: what the side path is sized for.
    """

    name: ClassVar[str] = "per_patch_outlier"
    signed: ClassVar[bool] = False
    unit: Tensor
    row_mult: Tensor
    zero_point: Tensor
    threshold: Tensor
    bits: int
    outlier_fraction: float = 0.0

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 8, f"bits must be in 2..8, not {self.bits}")
        shape = list(self.row_mult.shape)
        require(
            self.row_mult.numel() == 1 or (len(shape) == 2 and shape[1] == 1),
            f"row_mult must be [T, 1], not {shape}",
        )
        for name, value in (("row_mult", self.row_mult), ("zero_point", self.zero_point)):
            kind = value.dtype
            require(
                not (kind.is_floating_point or kind.is_complex),
                f"{name} must hold integers, not {kind}",
            )
        _check_fraction(self.outlier_fraction)
        for name in ("unit", "zero_point", "threshold"):
            shape = list(getattr(self, name).shape)
            require(shape == [], f"{name} must be one number, not {shape}")

    @classmethod
    def from_values(cls, x: Tensor, bits: int, outlier_fraction: float) -> "PerPatchOutlier":
        """Return the quantizer that fits calibration values.

        The threshold is the 1 - outlier_fraction quantile of |x|. The zero point is the one of
        three, the mean over tokens of where 0 lies in their ranges and its two neighbours, with
        which the best scales make the least squared error. A token's candidates for a scale are
        those that span its range and those that cover its wider side, with ranges of the
        percentiles 1, 0.9999, 0.999 and 0.99 of its inliers.

        Parameters
        ----------
        x : float[..., T, C]
            Values of all calibration images.
        bits : int in 2..8
            Width of a code.
        outlier_fraction : float in 0..1
            0 for no outliers, not even on other images.
        """
        _check_fraction(outlier_fraction)
        require(x.ndim >= 2 and x.numel() > 0, f"x must be [..., T, C], not {list(x.shape)}")
        rows = x.detach().to(torch.float32).movedim(-2, 0).reshape(x.shape[-2], -1)
        magnitude = rows.abs()
        threshold = _threshold(magnitude, outlier_fraction)
        outlier = magnitude > threshold
        low, high = _ranges(rows.masked_fill(outlier, torch.nan))
        zero_point, scale = _least_error(rows.masked_fill(outlier, 0.0), low, high, bits)
        scale = torch.maximum(scale, magnitude.amax(1) * _SIDE_HEADROOM)
        largest = scale.max()
        unit = torch.where(largest > 0, largest / MAX_ROW_MULT, 1.0)
        row_mult = torch.clamp(torch.floor(scale / unit + 0.5), 1, MAX_ROW_MULT)
        return cls(
            unit,
            row_mult.to(torch.int32)[:, None],
            torch.tensor(zero_point, dtype=torch.int32),
            threshold,
            bits,
            float(outlier.to(torch.float64).mean()),
        )

    @property
    def scale(self) -> Tensor:
        """What one code of each token stands for: float[T, 1]."""
        return self.unit * self.row_mult.to(self.unit.device, self.unit.dtype)

    @property
    def dense(self) -> Uniform:
        """What inliers are quantised by."""
        return Uniform(self.scale, self.zero_point, self.bits)

    @property
    def side(self) -> Uniform:
        """What outliers are quantised by: the same scales, 16 bits, no zero point."""
        return Uniform(self.scale, torch.zeros_like(self.zero_point), SIDE.bits, signed=True)

    def rescaled(self, factor: Tensor) -> "PerPatchOutlier":
        """Return the quantizer with the same outliers for scales `factor` times as large."""
        return replace(self, unit=self.unit.to(factor.device) * factor)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `SpecError` unless all parameters are legal for tensors [..., T, C]."""
        check_real("unit", self.unit)
        check_whole("row_mult", self.row_mult, 1, MAX_ROW_MULT, shape)
        check_whole("zero_point", self.zero_point, 0, (1 << self.bits) - 1)
        least = float(self.threshold)
        require(least >= 0, f"threshold must not be negative, not {least}")

    def encode(self, x: Tensor) -> Tensor:
        """float[..., T, C] -> int32[..., T, C]: the dense codes, zero_point for outliers."""
        point = self.zero_point.to(x.device, torch.int32)
        return torch.where(self._is_outlier(x), point, self.dense.encode(x))

    def outliers(self, x: Tensor) -> Tensor:
        """float[..., T, C] -> int32[..., T, C]: side values within 16 bits, 0 for inliers."""
        return torch.where(self._is_outlier(x), self.side.encode(x), 0)

    def decode(self, codes: Tensor) -> Tensor:
        """int[..., T, C] -> float[..., T, C]: scale * (codes - zero_point), the dense part."""
        return self.dense.decode(codes)

    def fake_quantize(self, x: Tensor) -> Tensor:
        """float[..., T, C] -> same: decode(encode(x)) + scale * outliers(x), differentiable.

        The gradient to x is 1 within the range of codes, and within that of side values for
        outliers; the gradient to unit is row_mult times that of `Uniform` to its scale.
        """
        outlier = self._is_outlier(x)
        return torch.where(outlier, self.side.fake_quantize(x), self.dense.fake_quantize(x))

    @property
    def acc_lsb(self) -> NDArray[np.float64]:
        """One for all tokens, as `outlier_join` makes it."""
        return np.asarray(float(self.unit), np.float64)

    def outlier_join(self, weight: NDArray[np.integer]) -> OutlierJoinSpec:
        """Return the unit that adds outliers, and makes the scales of all tokens one."""
        row_mult = self.row_mult.detach().cpu().numpy().astype(np.int64).reshape(-1)
        check_join(weight.shape[1], int(row_mult.max()))
        return OutlierJoinSpec(row_mult, -int(self.zero_point) * weight.astype(np.int64).sum(1))

    def expected_outliers(self, elements: int) -> int:
        """How many of so many elements are outliers, by calibration."""
        return ceil(self.outlier_fraction * elements)

    def facts(self) -> Mapping[str, Any]:
        """Return the share of the calibration values that were outliers."""
        return {"outlier_fraction": self.outlier_fraction}

    def mac_form(self) -> MacForm:
        """Return the form of the codes: offset = zero_point, one lsb per token; no outliers."""
        self._check_zero_point()
        return self.dense.mac_form()

    def encoder(self, frac: int) -> OutlierSplitSpec:
        """Return the unit for `frac` fraction bits.

        It has the same outliers. Its codes equal `encode` for tokens where 2**-frac / scale is a
        16-bit dyadic number; for others the two differ only within 2**-15 * |x / scale| of a
        tie, by one.
        """
        scale = self.scale.detach().to(torch.float64).cpu().numpy().reshape(-1)
        mult, shift = dyadic_array(2.0**-frac / scale)
        limit = float(self.threshold) * 2.0**frac
        require(limit >= 0, f"threshold must not be negative, not {float(self.threshold)}")
        self._check_zero_point()
        # |x| > threshold for a whole number |x| * 2**frac just where it exceeds floor(limit)
        threshold = int(min(limit, NEVER))
        return OutlierSplitSpec(mult, shift, int(self.zero_point), threshold, self.bits)

    def _check_zero_point(self) -> None:
        """Raise SpecError unless the zero point is a code: outliers take it to contribute 0."""
        top, point = (1 << self.bits) - 1, int(self.zero_point)
        require(0 <= point <= top, f"zero_point must be in 0..{top}, not {point}")

    def _is_outlier(self, x: Tensor) -> Tensor:
        return x.abs() > self.threshold.to(x.device)


def _check_fraction(value: float) -> None:
    require(0 <= value <= 1, f"outlier_fraction must be in 0..1, not {value}")


def _threshold(magnitude: Tensor, outlier_fraction: float) -> Tensor:
    """Return the magnitude that `outlier_fraction` of all exceed; infinity for a fraction of 0."""
    if outlier_fraction == 0:
        return torch.tensor(torch.inf, device=magnitude.device)
    rank = int((1 - outlier_fraction) * (magnitude.numel() - 1) + 0.5) + 1
    return magnitude.reshape(-1).kthvalue(rank).values


def _ranges(rows: Tensor) -> tuple[Tensor, Tensor]:
    """float[T, n] with nan for outliers -> float[4, T] low <= 0, float[4, T] high >= 0."""
    parts = torch.tensor(_FRACTIONS, dtype=rows.dtype, device=rows.device)
    # a token of outliers only has no range
    ends = torch.nanquantile(rows, torch.cat([1 - parts, parts]), dim=1).nan_to_num(0.0)
    return ends[: len(parts)].clamp(max=0.0), ends[len(parts) :].clamp(min=0.0)


def _least_error(rows: Tensor, low: Tensor, high: Tensor, bits: int) -> tuple[int, Tensor]:
    """float[T, n], 2 x float[4, T] -> the best zero point for all tokens, and scales float[T]."""
    top = (1 << bits) - 1
    span = (high - low) / top
    # where 0 lies in a range; in the middle of one that is empty
    zero = torch.where(span > 0, -low / torch.where(span > 0, span, 1.0), 0.5 * top)
    mean = int(torch.floor(zero.mean() + 0.5))
    candidates = []
    for point in sorted({max(mean - 1, 0), mean, min(mean + 1, top)}):
        cover = torch.maximum(-low / max(point, 1), high / max(top - point, 1))
        error, scale = _best_scales(rows, torch.cat([span, cover]), point, top)
        candidates.append((float(error.sum()), point, scale))
    _, point, scale = min(candidates, key=lambda candidate: candidate[0])
    return point, scale


def _best_scales(rows: Tensor, scales: Tensor, point: int, top: int) -> tuple[Tensor, Tensor]:
    """float[T, n], candidates float[k, T] -> squared error float[T], best scale float[T]."""
    least = torch.full_like(scales[0], torch.inf)
    chosen = scales[0]
    for scale in scales:
        wide = torch.where(scale > 0, scale, 1.0)[:, None]
        # decode(encode(rows)) - rows, in place: this is most of a calibration's time
        steps = torch.div(rows, wide).add_(0.5).floor_().clamp_(-point, top - point)
        error = steps.mul_(wide).sub_(rows).square_().sum(1)
        chosen = torch.where(error < least, scale, chosen)
        least = torch.minimum(error, least)
    return least, chosen
