"""How the error of every layer depends on the scale of its input, image by image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hwq.graph.ir import Graph
from hwq.methods.calibration import Calibration
from hwq.methods.threads import one_thread
from hwq.quantizers.uniform import Uniform

OFFSETS = torch.linspace(-1.0, 1.0, 17)
"""The log2 corrections at which errors are tabulated."""

RANGES = "scale_predictor.ranges"
"""Name of the range statistics in a graph."""

_TOKENS = 32


def tabulate(graph: Graph, names: list[str], calibration: Calibration) -> tuple[Tensor, Tensor]:
    """Range statistics and quantization errors of every image.

    Parameters
    ----------
    graph : Graph
        Quantised, with the node `RANGES`.
    names : list of str
        `quantize` nodes that linear layers read.
    calibration : Calibration
        Images.

    Returns
    -------
    ranges : float[B, C]
        Range statistics of the taps.
    errors : float[B, L, K]
        Mean square of what quantization of its input changes in each linear layer's output, with
        the scale times 2^OFFSETS[k], over at least 32 evenly spaced tokens where there are as
        many; all else runs as in the static graph.
    """
    layers = {name: _Layer.of(graph, name) for name in names}
    fetch = [RANGES, *dict.fromkeys(layer.source for layer in layers.values())]
    ranges, errors = [], []
    for values in calibration.run(graph, fetch):
        ranges.append(values[RANGES].cpu())
        with one_thread():
            rows = [layer.error_curve(values[layer.source]) for layer in layers.values()]
        errors.append(torch.stack(rows, 1))
    return torch.cat(ranges), torch.cat(errors)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A linear layer whose input has the scale in question.

    Parameters
    ----------
    source : str
        Name of its input before quantization.
    quantizer : Uniform
        Range of the input.
    weight : float[N, D]
        As its codes stand for it.
    gram : float[D, D] or None
        weight^T . weight where that is smaller: the power of e . weight^T is that of e in it.
    """

    source: str
    quantizer: Uniform
    weight: Tensor
    gram: Tensor | None

    @classmethod
    def of(cls, graph: Graph, name: str) -> "_Layer":
        node = graph.by_name[name]
        (linear,) = graph.consumers(name)
        right = graph.by_name[linear.inputs[1]]
        weight = torch.tensor(graph.constants[right.inputs[0]])
        codes = right.quantizer.fake_quantize(weight)
        gram = codes.T @ codes if codes.shape[0] > codes.shape[1] else None
        return cls(node.inputs[0], node.quantizer, codes, gram)

    def error_curve(self, x: Tensor) -> Tensor:
        """float[B, T, D] -> float[B, K]; a vector per image has no T."""
        part = x[:, :: max(x.shape[1] // _TOKENS, 1)] if x.ndim > 2 else x
        curves = []
        for offset in OFFSETS:
            codes = self.quantizer.rescaled(torch.exp2(offset)).fake_quantize(part)
            curves.append(self._power(codes - part))
        return torch.stack(curves, 1).cpu()

    def _power(self, error: Tensor) -> Tensor:
        """float[B, ..., D] -> float[B]: mean square of what an error of the input does."""
        if self.gram is None:
            return (error @ self.weight.to(error.device).T).square().flatten(1).mean(1)
        changed = (error @ self.gram.to(error.device)) * error
        return changed.flatten(1).sum(1) / (error[0, ..., 0].numel() * self.weight.shape[0])
