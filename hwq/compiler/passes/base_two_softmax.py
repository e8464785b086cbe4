"""Moves the softmax to base 2, where the exponential is a shift."""

from dataclasses import dataclass, replace
from math import e, log2
from typing import ClassVar

import numpy as np

from hwq.compiler.absorb import absorb
from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Graph, Node, Tensor, constant_like


@dataclass(frozen=True)
class BaseTwoSoftmax(Pass):
    """Folds log2(e) into the scores, so that softmax needs 2^x only.

    ::

        s = matmul(q, k) {alpha=a};         p = softmax(s) {base='e'}
        -> s = matmul(q, k) {alpha=a*log2(e)}; p = softmax(s) {base=2}

    Scores that others read, or that no matrix product makes, are multiplied by log2(e) instead.
    """

    name: ClassVar[str] = "base_two_softmax"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with base-2 softmaxes."""
        for node in graph.nodes:
            if node.op == "softmax" and node.attrs["base"] == "e":
                graph = _to_base_two(graph, graph.by_name[node.name])
        return graph


def _to_base_two(graph: Graph, softmax: Node) -> Graph:
    factor = constant_like(log2(e))
    changed = replace(softmax, attrs={**softmax.attrs, "base": 2})
    scaled = absorb(graph, softmax.inputs[0], np.float64(log2(e)).reshape(1))
    if scaled is not None:
        return scaled.replace_nodes({softmax.name: changed})
    name, constant = (graph.free_name(f"{softmax.name}.{end}") for end in ("scores", "log2_e"))
    scores = Node("mul", (softmax.inputs[0], constant), Tensor(name, softmax.output.shape))
    nodes = [n for n in graph.nodes if n is not softmax]
    nodes += [scores, replace(changed, inputs=(name,))]
    return graph.rebuild(nodes, {**graph.constants, constant: factor})
