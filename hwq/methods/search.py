"""Scale search that several methods share: the range with the least quantization error."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from hwq.quantizers.base import Quantizer
from hwq.quantizers.uniform import Uniform

PERCENTILES = (1.0, 0.99999, 0.9999, 0.999, 0.99)
_SAMPLE = 1 << 17
_SHRINK_CHANNEL = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
_SHRINK_ROW = tuple(1.0 - 0.04 * step for step in range(16))


def sample(x: Tensor, seed: int = 0) -> Tensor:
    """Return at most 2^17 values of x, drawn with replacement if there are more: float[n]."""
    flat = x.reshape(-1)
    if flat.numel() <= _SAMPLE:
        return flat
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(flat.numel(), (_SAMPLE,), generator=generator)
    return flat[index.to(flat.device)]


def least_error(x: Tensor, candidates: Iterable[Quantizer]) -> Quantizer:
    """Return the candidate with the least mean squared error on x; the first of equals."""
    scored = [(float((q.decode(q.encode(x)) - x).square().mean()), q) for q in candidates]
    return min(scored, key=lambda pair: pair[0])[1]


def quantile(ordered: Tensor, fraction: float) -> Tensor:
    """Return the value below which `fraction` of an ascending tensor lies."""
    return ordered[int(fraction * (len(ordered) - 1) + 0.5)]


def asymmetric(x: Tensor, bits: int, fractions: Sequence[float] = PERCENTILES) -> Quantizer:
    """Return the per-tensor uniform quantizer whose percentile range fits x best."""
    values = sample(x).sort().values
    ranges = [(quantile(values, 1 - part), quantile(values, part)) for part in fractions]
    return least_error(values, [Uniform.from_range(lo, hi, bits) for lo, hi in ranges])


def symmetric(x: Tensor, bits: int, fractions: Sequence[float] = PERCENTILES) -> Quantizer:
    """Return the per-tensor symmetric quantizer whose percentile range fits x best."""
    values = sample(x).abs().sort().values
    peaks = [quantile(values, part) for part in fractions]
    return least_error(values, [Uniform.symmetric(peak, bits) for peak in peaks])


def least_product_error(
    left: Tensor, right: Tensor, candidates: Iterable[Quantizer], tolerance: float = 0.0
) -> Quantizer:
    """Return the candidate for `left` that disturbs left @ right least.

    The first one whose mean squared error is at most 1 + `tolerance` times the least is taken.
    """
    target = left @ right

    def error(quantizer: Quantizer) -> float:
        return float((quantizer.fake_quantize(left) @ right - target).square().mean())

    scored = [(error(quantizer), quantizer) for quantizer in candidates]
    enough = min(pair[0] for pair in scored) * (1.0 + tolerance)
    return next(quantizer for error, quantizer in scored if error <= enough)


def asymmetric_per_channel(x: Tensor, bits: int) -> Uniform:
    """Return the quantizer of float[..., D] with the least squared error in every channel."""
    rows = x.reshape(-1, x.shape[-1])
    low, high = rows.amin(0), rows.amax(0)
    best = torch.full_like(low, torch.inf)
    factor = torch.ones_like(low)
    for shrink in _SHRINK_CHANNEL:
        quantizer = Uniform.from_range(low * shrink, high * shrink, bits)
        error = (quantizer.decode(quantizer.encode(rows)) - rows).square().sum(0)
        factor = torch.where(error < best, shrink, factor)
        best = torch.minimum(error, best)
    return Uniform.from_range(low * factor, high * factor, bits)


def symmetric_per_row(weight: Tensor, bits: int) -> Uniform:
    """Return the quantizer of a weight [N, K] with the least squared error in every row.

    Candidates are the row's largest magnitude times 1.00, 0.96, ... 0.40.
    """
    peak = weight.abs().amax(1, keepdim=True)
    best = torch.full_like(peak, torch.inf)
    chosen = peak.clone()
    for factor in _SHRINK_ROW:
        quantizer = Uniform.symmetric(peak * factor, bits)
        # decode(encode(weight)) - weight, in place: this loop is most of a calibration's time
        codes = torch.div(weight, quantizer.scale).add_(0.5).floor_()
        difference = codes.clamp_(quantizer.lo, quantizer.hi).mul_(quantizer.scale).sub_(weight)
        error = difference.square_().sum(1, keepdim=True)
        chosen = torch.where(error < best, peak * factor, chosen)
        best = torch.minimum(error, best)
    return Uniform.symmetric(chosen, bits)
