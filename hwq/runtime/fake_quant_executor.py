"""What a quantised graph means in torch: the float operations between quantise-dequantise.

Differentiable: rounding passes gradients straight through.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hwq.graph.ir import Graph, Node
from hwq.runtime.float_executor import FLOAT_OPS, Function, TorchExecutor


def _quantize(node: Node, x: Sequence[Tensor]) -> Tensor:
    quantizer = node.quantizer
    if len(x) > 1:
        result: Tensor = quantizer.fake_quantize(x[0], x[1][..., quantizer.index])
    else:
        result = quantizer.fake_quantize(x[0])
    return result


def _scale_predictor(node: Node, x: Sequence[Tensor]) -> Tensor:
    corrections: Tensor = node.attrs["predictor"](x[0])
    return corrections


def _range_extract(node: Node, x: Sequence[Tensor]) -> Tensor:
    chunks = x[0].reshape(-1, node.attrs["chunk_tokens"], x[0].shape[-1])
    return (chunks.amax(1) - chunks.amin(1)).sum(0)


FAKE_QUANT_OPS: Mapping[str, Function] = {
    **FLOAT_OPS,
    "quantize": _quantize,
    "range_extract": _range_extract,
    "scale_predictor": _scale_predictor,
}


class FakeQuantExecutor(TorchExecutor):
    """Runs a quantised graph in torch; a graph without `quantize` is run in float."""

    def __init__(self, graph: Graph, device: str | torch.device = "cpu") -> None:
        super().__init__(graph, FAKE_QUANT_OPS, device)
