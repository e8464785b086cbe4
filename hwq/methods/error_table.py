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
    """

    source: str
    quantizer: Uniform
    weight: Tensor

    @classmethod
    def of(cls, graph: Graph, name: str) -> "_Layer":
        node = graph.by_name[name]
        (linear,) = graph.consumers(name)
        right = graph.by_name[linear.inputs[1]]
        weight = torch.tensor(graph.constants[right.inputs[0]])
        codes = right.quantizer.fake_quantize(weight)
        return cls(node.inputs[0], node.quantizer, codes)

    def error_curve(self, x: Tensor) -> Tensor:
        """float[B, T, D] -> float[B, K]; a vector per image has no T."""
        part = x[:, :: max(x.shape[1] // _TOKENS, 1)] if x.ndim > 2 else x
        turned = self.weight.to(x.device).T
        curves = []
        for offset in OFFSETS:
            codes = self.quantizer.rescaled(torch.exp2(offset)).fake_quantize(part)
            curves.append(((codes - part) @ turned).square().flatten(1).mean(1))
        return torch.stack(curves, 1).cpu()
