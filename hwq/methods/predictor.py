"""The scale predictor as a function of torch tensors, and how it is fitted and judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwq.errors import UsageError, require
from hwq.methods.threads import one_thread
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.scale_predictor import ScalePredictorSpec

FRAC = 12
_LIMIT = 0.75
_LARGEST = 2.0**40
_MANTISSA = (1 << 15) - 1
_RIDGE = 30.0
_STEPS, _LEARNING_RATE, _DECAY = 600, 0.02, 1.0


@dataclass(frozen=True, eq=False)
class Predictor:
    """Ranges -> features -> log2 corrections; the float twin of `ScalePredictorSpec`.

    f = clamp(projection (r - centre)), y_l = clamp(bias_l + sum_i sum_d a_lid f_i^d)

    Parameters
    ----------
    centre : float[C]
        Mean of the calibration images' ranges.
    projection : float[p, C]
        To features of about unit variance.
    coefficients : float[L, p, degree]
        Highest degree first, as in Horner's rule.
    biases : float[L]
        Constant corrections.
    """

    centre: Tensor
    projection: Tensor
    coefficients: Tensor
    biases: Tensor

    @classmethod
    def static(cls, width: int, scales: int, features: int, degree: int) -> "Predictor":
        """Return the predictor that corrects nothing."""
        return cls(
            torch.zeros(width),
            torch.zeros(features, width),
            torch.zeros(scales, features, degree),
            torch.zeros(scales),
        )

    def check(self, width: int, scales: tuple[int, ...]) -> None:
        """Raise `SpecError` unless it maps `width` ranges to corrections of shape `scales`."""
        features, degree = self.projection.shape[:1], self.coefficients.shape[-1:]
        shapes = {
            "centre": (width,),
            "projection": (*features, width),
            "coefficients": (*scales, *features, *degree),
            "biases": scales,
        }
        require(len(scales) == 1, f"corrections must be [L], not {list(scales)}")
        for name, shape in shapes.items():
            value: Tensor = getattr(self, name)
            require(
                tuple(value.shape) == shape,
                f"{name} must be {list(shape)}, not {list(value.shape)}",
            )
            plain = value.dtype == torch.float32 and bool((value.abs() <= _LARGEST).all())
            require(plain, f"{name} must hold float32 numbers within +-{_LARGEST:g}")

    def __call__(self, ranges: Tensor) -> Tensor:
        """float[..., C] -> float[..., L]: log2 corrections."""
        return self.correct(self.project(ranges))

    def project(self, ranges: Tensor) -> Tensor:
        """float[..., C] -> float[..., p]: features, within the unit's Q4.12."""
        return ((ranges - self.centre) @ self.projection.T).clamp(-8.0, 8.0 - 2.0**-FRAC)

    def correct(self, features: Tensor) -> Tensor:
        """float[..., p] -> float[..., L]."""
        acc = torch.zeros_like(self.coefficients[..., 0])
        x = features[..., None, :]
        for degree in range(self.coefficients.shape[-1]):
            acc = (acc + self.coefficients[..., degree]) * x
        return (self.biases + acc.sum(-1)).clamp(-_LIMIT, _LIMIT)

    def keep(self, mask: Sequence[bool]) -> "Predictor":
        """Return the predictor of the scales where `mask` holds."""
        index = torch.tensor(mask, dtype=torch.bool).nonzero()[:, 0]
        return Predictor(self.centre, self.projection, self.coefficients[index], self.biases[index])

    def to_spec(self, frac: int) -> ScalePredictorSpec:
        """Return the integer unit for ranges with `frac` fraction bits."""
        projection = self.projection.double().numpy()
        peak = max(float(np.abs(projection).max()), 2.0**-40)
        # projection[i, c] * 2^(12 - frac) = mantissa * 2^-shift with 16-bit mantissas, because one
        # shift serves rows and channels of very different size
        shift = int(np.floor(np.log2(_MANTISSA / peak))) + frac - FRAC
        shift = min(max(shift, 0), 47)
        mantissa = np.floor(projection * 2.0 ** (shift + FRAC - frac) + 0.5)
        mantissa = np.clip(mantissa, -_MANTISSA, _MANTISSA)
        offset = -(mantissa * 2.0**-shift) @ (self.centre.double().numpy() * 2.0**frac)
        return ScalePredictorSpec.from_arrays(
            RangeExtractSpec(channels=projection.shape[1]),
            mantissa.astype(np.int64),
            np.floor(offset + 0.5).astype(np.int64),
            _q12(self.coefficients),
            _q12(self.biases),
            shift=shift,
            limit=int(_LIMIT * (1 << FRAC)),
        )


def _q12(values: Tensor) -> Any:
    scaled = np.floor(values.double().numpy() * (1 << FRAC) + 0.5)
    return np.clip(scaled, -(1 << 15), (1 << 15) - 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted predictor and how it does on held-out images.

    Parameters
    ----------
    predictor : Predictor
        Polynomials of the scales whose gate is open.
    keep : list of bool
        The gates.
    r2 : float[L]
        Held-out coefficient of determination against the best per-image corrections; not a
        number where these do not vary.
    oracle_gain, predicted_gain, static_gain : float[L]
        Share of the held-out error that the best per-image corrections, the predicted ones, and
        the best constant one remove.
    images : int
        How many judged.
    constant : float[L]
        The best constant correction of the images that were fitted.
    """

    predictor: Predictor
    keep: list[bool]
    r2: Tensor
    oracle_gain: Tensor
    predicted_gain: Tensor
    static_gain: Tensor
    images: int
    constant: Tensor

    def constants(self, min_gain: float) -> Tensor:
        """Return what the static scales should change by, float[L] in log2.

        0 where the gate is open, or where less than `min_gain` of the held-out error would go.
        """
        useful = ~torch.tensor(self.keep, dtype=torch.bool) & (self.static_gain > min_gain)
        return torch.where(useful, self.constant, 0.0)


@one_thread()
def fit_predictor(
    ranges: Tensor,
    errors: Tensor,
    offsets: Tensor,
    features: int,
    degree: int,
    min_r2: float,
    held_out: float,
) -> Fit:
    """Fit on most images, judge on the rest.

    Parameters
    ----------
    ranges : float[B, C]
        Statistics of each image.
    errors : float[B, L, K]
        Tabulated quantization errors at corrections `offsets`.
    offsets : float[K]
        Evenly spaced, with 0 in the middle.
    features, degree, min_r2, held_out
        See `ScalePredictor`.
    """
    if len(ranges) < 2:
        raise UsageError("scalepredictor needs two calibration images: one to fit, one to judge")
    split = len(ranges) - max(int(len(ranges) * held_out), 1)
    middle = len(offsets) // 2
    relative = errors / errors[:, :, middle : middle + 1].mean(0, keepdim=True).clamp(min=1e-30)
    train, test = relative[:split], relative[split:]
    best = offsets[relative.argmin(2)]
    start = _initial(ranges[:split], best[:split], features, degree)
    predictor = _descend(start, ranges[:split], train, offsets)
    predicted = predictor(ranges[split:])
    oracle = best[split:]
    constant = offsets[train.mean(0).argmin(1)]
    level = test[:, :, middle].mean(0)
    cost = {
        "oracle": test.amin(2).mean(0),
        "predicted": interpolate(test, offsets, predicted).mean(0),
        "static": interpolate(test, offsets, constant.expand_as(oracle)).mean(0),
    }
    gain = {name: 1 - value / level.clamp(min=1e-30) for name, value in cost.items()}
    spread = (oracle - oracle.mean(0)).square().sum(0)
    # where the best correction is the same for every image there is nothing to explain
    r2 = torch.where(spread > 0, 1 - (oracle - predicted).square().sum(0) / spread, torch.nan)
    useful = (gain["predicted"] > 0) & (gain["predicted"] > gain["static"])
    keep = (useful & (r2 > min_r2)).tolist()
    return Fit(
        predictor.keep(keep),
        keep,
        r2,
        gain["oracle"],
        gain["predicted"],
        gain["static"],
        len(oracle),
        constant,
    )


def interpolate(errors: Tensor, offsets: Tensor, at: Tensor) -> Tensor:
    """float[B, L, K] tabulated at float[K] -> float[B, L]: linear between the table's points."""
    pitch = offsets[1] - offsets[0]
    position = ((at - offsets[0]) / pitch).clamp(0, len(offsets) - 1.001)
    left = position.detach().floor().long()
    part = position - left
    low = errors.gather(2, left[..., None])[..., 0]
    high = errors.gather(2, left[..., None] + 1)[..., 0]
    return low + (high - low) * part


def _initial(ranges: Tensor, best: Tensor, features: int, degree: int) -> Predictor:
    """Static start: the projection by reduced-rank ridge regression, coefficients zero."""
    centre, spread = ranges.mean(0), ranges.std(0, correction=0).clamp(min=1e-6)
    x = (ranges - centre) / spread
    y = best - best.mean(0)
    gram = x.T @ x + _RIDGE * len(x) ** 0.5 * torch.eye(x.shape[1])
    weight = torch.linalg.solve(gram, x.T @ y)
    _, _, right = torch.linalg.svd(x @ weight, full_matrices=False)
    count = min(features, right.shape[0])
    directions = torch.zeros(features, x.shape[1])
    directions[:count] = (weight @ right[:count].T).T
    scale = (x @ directions.T).std(0, correction=0).clamp(min=1e-6)
    live = torch.arange(features) < count
    projection = torch.where(live[:, None], directions / scale[:, None] / spread, 0.0)
    scales = best.shape[1]
    return Predictor(centre, projection, torch.zeros(scales, features, degree), torch.zeros(scales))


def _descend(start: Predictor, ranges: Tensor, errors: Tensor, offsets: Tensor) -> Predictor:
    """Adam on the tabulated error, from the static start, with weight decay."""
    f = start.project(ranges)
    coefficients = start.coefficients.clone().requires_grad_()
    biases = start.biases.clone().requires_grad_()
    optimizer = torch.optim.Adam([coefficients, biases], _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        model = Predictor(start.centre, start.projection, coefficients, biases)
        error = interpolate(errors, offsets, model.correct(f)).mean(0).sum()
        loss = error + _DECAY * coefficients.square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return Predictor(start.centre, start.projection, coefficients.detach(), biases.detach())


def oracle_report(fit: Fit, names: list[str]) -> dict[str, Any]:
    """Return the figures for a report: what there was to gain, and how much was predicted."""
    return {
        "scales": len(names),
        "gates_open": sum(fit.keep),
        "held_out_images": fit.images,
        "mean_held_out_r2": _figure(fit.r2.nanmean()),
        "mean_oracle_gain": float(fit.oracle_gain.mean()),
        "mean_predicted_gain": float(fit.predicted_gain.mean()),
        "mean_static_gain": float(fit.static_gain.mean()),
        "per_scale": [
            {
                "name": name,
                "open": fit.keep[index],
                "held_out_r2": _figure(fit.r2[index]),
                "oracle_gain": float(fit.oracle_gain[index]),
                "predicted_gain": float(fit.predicted_gain[index]),
                "static_gain": float(fit.static_gain[index]),
            }
            for index, name in enumerate(names)
        ],
    }


def _figure(value: Tensor) -> float | None:
    """A number for a report; None where there is none."""
    return None if bool(value.isnan()) else float(value)
