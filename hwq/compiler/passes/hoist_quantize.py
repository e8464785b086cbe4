"""Moves quantization to where the accumulators are: before any data movement."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Graph, Node, Tensor
from hwq.graph.movement import compress, move
from hwq.graph.ops import OPS, PRODUCTS
from hwq.quantizers.base import Quantizer


@dataclass(frozen=True)
class HoistQuantize(Pass):
    """Quantises a matrix product's output at once, so that codes are what is moved.

    ::

        y = linear(x, w)                        y = linear(x, w)
        q = quantize(select(reshape(y), 0))  -> c = quantize(y) with a scale per channel
        k = quantize(select(reshape(y), 1))     q = select(reshape(c), 0); k = select(reshape(c), 1)

    Products of which some element is not quantised, or not uniformly, keep their form.
    """

    name: ClassVar[str] = "hoist_quantize"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with `quantize` right behind the matrix products."""
        for node in graph.nodes:
            if node.op in PRODUCTS:
                graph = _hoist(graph, graph.by_name[node.name])
        return graph


def _hoist(graph: Graph, product: Node) -> Graph:
    size = int(np.prod(product.output.shape))
    identity = np.arange(size).reshape(product.output.shape)
    reached = _readers(graph, product.name, identity)
    if reached is None:
        return graph
    quantizes = [node for node, _ in reached]
    quantizers = [node.quantizer for node in quantizes]
    if not _mergeable(quantizers):
        return graph
    bases = [quantizer.uniform for quantizer in quantizers]
    scale = np.full(size, np.nan)
    zero_point = np.zeros(size, np.int64)
    for (node, ids), quantizer in zip(reached, bases, strict=True):
        for target, values in ((scale, quantizer.scale), (zero_point, quantizer.zero_point)):
            target[ids.reshape(-1)] = np.broadcast_to(_array(values), node.output.shape).reshape(-1)
    if np.isnan(scale).any():
        return graph
    shape = product.output.shape
    merged = quantizers[0].with_parameters(
        torch.from_numpy(compress(scale.reshape(shape))).float(),
        torch.from_numpy(compress(zero_point.reshape(shape))),
    )
    return _rewire(graph, product, quantizes, merged)


def _mergeable(quantizers: list[Quantizer]) -> bool:
    """Whether one per-channel quantizer can stand for all."""
    if any(quantizer.correction is not None for quantizer in quantizers):
        return len(quantizers) == 1
    bases = [quantizer.uniform for quantizer in quantizers]
    return None not in bases and len({(base.bits, base.signed) for base in bases if base}) == 1


def _readers(
    graph: Graph, name: str, ids: NDArray[np.int64]
) -> list[tuple[Node, NDArray[np.int64]]] | None:
    """The `quantize` nodes behind data movement, with the elements each reads; None if others."""
    if name in graph.outputs:
        return None
    parts: list[tuple[Node, NDArray[np.int64]]] = []
    for node in graph.consumers(name):
        if node.op == "quantize":
            parts.append((node, ids))
        elif OPS[node.op].movement:
            more = _readers(graph, node.name, move(node, [ids]))
            if more is None:
                return None
            parts += more
        else:
            return None
    return parts


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _rewire(graph: Graph, product: Node, quantizes: list[Node], quantizer: Quantizer) -> Graph:
    codes = Node(
        "quantize",
        (product.name, *quantizes[0].inputs[1:]),
        Tensor(f"{product.name}.codes", product.output.shape, quant=quantizer),
    )
    gone = {node.name: node.inputs[0] for node in quantizes}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in gone:
            continue
        inputs = tuple(gone.get(name, name) for name in node.inputs)
        inputs = tuple(codes.name if name == product.name else name for name in inputs)
        nodes.append(replace(node, inputs=inputs))
        if node is product:
            nodes.append(codes)
    return graph.rebuild(nodes)
