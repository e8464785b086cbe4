"""How diverse the patches of an image are to a network: entropy of their similarities."""

from dataclasses import dataclass
from math import sqrt, tau

import torch
import torch.nn.functional as F
from torch import Tensor

from hwq.errors import UsageError
from hwq.graph.ir import Graph
from hwq.methods.calibration import Calibration
from hwq.methods.sites import find_sites

# Gaussian kernel density; the published grid of 10 points over a range of up to 2 falls between
# the kernels (trap T20), this one has four points in a standard deviation
_BANDWIDTH = 0.01
_PITCH = _BANDWIDTH / 4
_BINS = round(2 / _PITCH) + 1
_REACH = 16
# added to the density so that its logarithm is finite, as published
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """An attention output: probabilities times values.

    Parameters
    ----------
    output : str
        The matmul's tensor, [..., heads, tokens, width].
    prefix : int
        Tokens in front of the patches (class token, registers); 0 where the tokens are a window
        of the patches (trap T19).
    """

    output: str
    prefix: int


def attention_layers(graph: Graph) -> tuple[AttentionLayer, ...]:
    """Every attention output with at least two patches, in graph order.

    Raises
    ------
    UsageError
        When there is none.
    """
    embedding = next((node for node in graph.nodes if node.op == "linear"), None)
    patches = 0 if embedding is None else embedding.output.shape[-2]
    layers = []
    for site in find_sites(graph):
        if site.dynamic and site.operand == "a" and site.producer == "softmax":
            tokens = graph.shape(site.consumer)[-2]
            prefix = max(tokens - patches, 0)
            if tokens - prefix > 1:
                layers.append(AttentionLayer(site.consumer, prefix))
    if not layers:
        raise UsageError(f"model {graph.name!r} has no attention over patches to make images from")
    return tuple(layers)


def layer_entropy(attention: Tensor, prefix: int) -> Tensor:
    """float[B, ..., H, T, D] attention output -> float[B]: entropy of its patch similarities.

    Heads are averaged, the first `prefix` tokens dropped; cosine similarity of every pair of
    patches, in both orders and with itself, as published; mean over what lies between B and H
    (windows).
    """
    units = F.normalize(attention.mean(-3)[..., prefix:, :], dim=-1)
    similarity = units @ units.transpose(-1, -2)
    return entropy(similarity.flatten(-2)).reshape(len(attention), -1).mean(1)


def entropy(samples: Tensor) -> Tensor:
    """float[..., N] in -1..1 -> float[...]: differential entropy in nats, differentiable.

    H = - integral (f + 1e-4) log(f + 1e-4), f(g) = mean_k N(g; x_k, 0.01^2), with x_k rounded to
    the grid of pitch 0.0025 on which f is evaluated. The gradient,
    dH/dx_k = - 1/N integral (log(f + 1e-4) + 1) dN(g; x_k)/dx_k, is tabulated on the grid and
    looked up: N samples cost N look-ups, not N times the grid.
    """
    rows = samples.reshape(-1, samples.shape[-1])
    with torch.no_grad():
        bins = ((rows + 1) / _PITCH).round().long().clamp(0, _BINS - 1)
        # integer counts: the order in which a GPU adds does not matter
        counts = torch.zeros((len(rows), _BINS), dtype=torch.int32, device=rows.device)
        counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.int32))
        offset = torch.arange(-_REACH, _REACH + 1, device=rows.device) * _PITCH
        kernel = torch.exp(-0.5 * (offset / _BANDWIDTH).square()) / (_BANDWIDTH * sqrt(tau))
        density = (
            _convolve(F.pad(counts / rows.shape[1], (2 * _REACH, 2 * _REACH)), kernel) + _FLOOR
        )
        log = density.log()
        # the trapezoid rule, but for half of the floor at either end
        value = -_PITCH * (density * log).sum(1)
        slope = -_PITCH * _convolve(log + 1, kernel * offset / _BANDWIDTH**2)
        slope = slope.gather(1, bins)
    # zero, with the gradient of the entropy
    change = (slope * (rows - rows.detach())).mean(1)
    return (value + change).reshape(samples.shape[:-1])


def _convolve(rows: Tensor, kernel: Tensor) -> Tensor:
    """float[R, G], float[2 r + 1] -> float[R, G'], correlated: over the grid and r beyond it."""
    return F.conv1d(rows[:, None], kernel[None, None])[:, 0]


def patch_entropy(graph: Graph, calibration: Calibration) -> float:
    """Return the mean over images of the sum over attention layers of `layer_entropy`, in nats."""
    layers = attention_layers(graph)
    total = 0.0
    for values in calibration.run(graph, [layer.output for layer in layers]):
        for layer in layers:
            total += float(layer_entropy(values[layer.output], layer.prefix).sum())
    return total / len(calibration)
