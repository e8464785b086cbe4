"""Search of both quantizers of a matrix product by the error of its output."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hwq.methods.product_samples import ProductSample
from hwq.quantizers.base import Quantizer
from hwq.quantizers.uniform import Uniform

METRICS = ("hessian", "mse", "cosine")
# how far from the last choice the later rounds look
_NEAR = 10


@dataclass(frozen=True, eq=False)
class Choices:
    """The quantizers among which that of one operand is searched.

    Parameters
    ----------
    make : callable
        int64[parts] -> Quantizer; entry p is the number of the candidate of part p.
    count : int
        Candidates per part; 1 where there is nothing to search.
    parts : int
        Pieces of the operand with a choice of their own: heads, or equal runs of output channels.
    start : int
        The candidate that stands in until the first search.
    """

    make: Callable[[Tensor], Quantizer]
    count: int = 1
    parts: int = 1
    start: int = 0


def fixed(quantizer: Quantizer) -> Choices:
    """Return the choice of one."""
    return Choices(lambda index: quantizer)


def symmetric_choices(
    peak: Tensor, factors: Tensor, bits: int, spread: Callable[[Tensor], Tensor]
) -> Choices:
    """Return symmetric uniform quantizers that reach peak times a factor.

    Parameters
    ----------
    peak : float32[parts]
        Largest magnitude of each part.
    factors : float32[n]
        Scales of the candidates, relative to those of the peaks.
    bits : int
        Width of the codes.
    spread : callable
        float32[parts] -> a tensor that broadcasts against the operand.
    """
    return Choices(
        make=lambda index: Uniform.symmetric(spread(peak * factors[index]), bits),
        count=len(factors),
        parts=len(peak),
        start=int((factors - 1).abs().argmin()),
    )


def search(
    sample: ProductSample, a: Choices, b: Choices, order: str, metric: str, rounds: int
) -> tuple[Quantizer, Quantizer]:
    """Choose the quantizers of both operands in turns, each given the other's last choice.

    The first round tries every candidate, on all rows of the sample; the others try those at most
    ten numbers away from the last choice. The search ends after `rounds` rounds or, with the same
    result, when a round changes nothing.

    Parameters
    ----------
    sample : ProductSample
        Rows of the product.
    a, b : Choices
        Candidates of the left and of the right operand.
    order : {"ab", "ba"}
        Which one is searched first.
    metric : {"hessian", "mse", "cosine"}
        See `output_loss`.
    rounds : int
        At most so many.
    """
    choices = {"a": a, "b": b}
    chosen = {name: torch.full((choice.parts,), choice.start) for name, choice in choices.items()}
    for turn in range(rounds):
        before = dict(chosen)
        for name in order:
            choice, other = choices[name], "b" if name == "a" else "a"
            if choice.count > 1:
                numbers = _near(chosen[name], choice.count) if turn else every_candidate(choice)
                held = choices[other].make(chosen[other])
                table = losses(sample, name, choice, numbers, held, metric)
                best = numbers.gather(0, table.argmin(0, keepdim=True))[0]
                # where nothing depends on a part, as without a gradient, it stays as it is
                chosen[name] = torch.where(table.amax(0) > table.amin(0), best, chosen[name])
        if all(torch.equal(before[name], chosen[name]) for name in choices):
            break
    return a.make(chosen["a"]), b.make(chosen["b"])


def every_candidate(choices: Choices) -> Tensor:
    """Return int64[count, parts]: the numbers of all candidates, for every part."""
    return torch.arange(choices.count)[:, None].expand(choices.count, choices.parts)


def _near(chosen: Tensor, count: int) -> Tensor:
    """int64[parts] -> int64[k, parts]: the numbers of the candidates around those chosen."""
    return (chosen + torch.arange(-_NEAR, _NEAR + 1)[:, None]).clamp(0, count - 1)


def losses(
    sample: ProductSample,
    operand: str,
    choices: Choices,
    numbers: Tensor,
    other: Quantizer,
    metric: str,
) -> Tensor:
    """Loss of candidates of one operand while the other operand has its quantizer.

    Parameters
    ----------
    sample : ProductSample
        Rows of the product.
    operand : {"a", "b"}
        The one that is searched.
    choices : Choices
        Its candidates.
    numbers : int64[k, parts]
        Which of them to try.
    other : Quantizer
        Quantizer of the other operand.
    metric : {"hessian", "mse", "cosine"}
        See `output_loss`.

    Returns
    -------
    float64[k, parts]
        On the CPU.
    """
    values, rest = (sample.a, sample.b) if operand == "a" else (sample.b, sample.a)
    held = other.fake_quantize(rest)
    rows = []
    for row in numbers:
        tried = choices.make(row).fake_quantize(values)
        out = sample.product(tried, held) if operand == "a" else sample.product(held, tried)
        rows.append(output_loss(out, sample, choices.parts, metric))
    return torch.stack(rows).double().cpu()


def output_loss(out: Tensor, sample: ProductSample, parts: int, metric: str) -> Tensor:
    """How far a product's output is from that of the float network; changes `out`.

    Parameters
    ----------
    out : float32, as sample.out
        Output with quantised operands.
    sample : ProductSample
        The float network's output and gradients.
    parts : int
        Heads of a `matmul`, or equal runs of output channels of a `linear`; 1 for all at once.
    metric : {"hessian", "mse", "cosine"}
        "hessian": sum over positions and channels of (gradient * difference)^2, with the squared
        gradient in place of the Hessian's diagonal; "mse": of difference^2; "cosine": 1 - cosine
        of the angle between the channels of a position, mean over the positions; between the
        positions of a channel where every channel is a part.

    Returns
    -------
    float32[parts]
    """
    if metric == "cosine":
        got, wanted = _by_part(out, parts), _by_part(sample.out, parts)
        return 1 - F.cosine_similarity(got, wanted, dim=-1).mean((0, *range(2, got.ndim - 1)))
    difference = out.sub_(sample.out)
    if metric == "hessian" and sample.grad is not None:
        difference = difference.mul_(sample.grad)
    error = _by_part(difference, parts)
    return error.square_().sum((0, *range(2, error.ndim)))


def _by_part(out: Tensor, parts: int) -> Tensor:
    """float[n, N] or [B, G, r, N] -> float[..., L] with the parts along axis 1."""
    if out.ndim == 4:
        return out if parts == out.shape[1] else out.reshape(-1, 1, out.shape[-1])
    if parts == out.shape[1] > 1:
        return out.T[None]
    return out.reshape(len(out), parts, -1)
