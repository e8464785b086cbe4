"""Moves the softmax to base 2, where the exponential is a shift."""

from dataclasses import dataclass, replace
from math import e, log2
from typing import ClassVar

from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Graph


@dataclass(frozen=True)
class BaseTwoSoftmax(Pass):
    """Folds log2(e) into the scores, so that softmax needs 2^x only.

    ::

        s = matmul(q, k) {alpha=a};         p = softmax(s) {base='e'}
        -> s = matmul(q, k) {alpha=a*log2(e)}; p = softmax(s) {base=2}

    A softmax whose scores are not a `matmul` of its own stays in base e.
    """

    name: ClassVar[str] = "base_two_softmax"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with base-2 softmaxes."""
        scores = {
            node.inputs[0]
            for node in graph.nodes
            if node.op == "softmax" and node.attrs["base"] == "e" and _own(graph, node.inputs[0])
        }
        nodes = []
        for node in graph.nodes:
            if node.name in scores:
                node = replace(node, attrs={**node.attrs, "alpha": node.attrs["alpha"] * log2(e)})
            elif node.op == "softmax" and node.inputs[0] in scores:
                node = replace(node, attrs={**node.attrs, "base": 2})
            nodes.append(node)
        return graph.rebuild(nodes)


def _own(graph: Graph, name: str) -> bool:
    producer = graph.by_name.get(name)
    return producer is not None and producer.op == "matmul" and len(graph.consumers(name)) == 1
