"""Recognises activations that a network writes out as a sigmoid and a product."""

from dataclasses import dataclass, replace
from math import isclose
from typing import ClassVar

from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Graph, Node

QUICK_GELU_FACTOR = 1.702
"""quick_gelu(x) = x sigmoid(1.702 x)."""


@dataclass(frozen=True)
class FuseActivation(Pass):
    """Makes one activation of x times the sigmoid of x.

    ::

        s = activation(x) {function='sigmoid'}; y = mul(x, s)
        -> y = activation(x) {function='silu'}

        t = mul(x, 1.702); s = activation(t) {function='sigmoid'}; y = mul(x, s)
        -> y = activation(x) {function='quick_gelu'}
    """

    name: ClassVar[str] = "fuse_activation"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with one node per activation."""
        changed = {}
        for node in graph.nodes:
            fused = _fused(graph, node) if node.op == "mul" else None
            if fused is not None:
                changed[node.name] = fused
        return graph.rebuild(graph.replace_nodes(changed).nodes) if changed else graph


def _fused(graph: Graph, product: Node) -> Node | None:
    """The activation that a product of two tensors is; None if it is none."""
    for x, other in (product.inputs, product.inputs[::-1]):
        sigmoid = graph.by_name.get(other)
        if sigmoid is None or sigmoid.attrs.get("function") != "sigmoid":
            continue
        function = _function(graph, x, sigmoid.inputs[0])
        if function is not None:
            attrs = {"function": function}
            return replace(product, op="activation", inputs=(x,), attrs=attrs)
    return None


def _function(graph: Graph, x: str, argument: str) -> str | None:
    """Name x sigmoid(argument)."""
    if argument == x:
        return "silu"
    scaled = graph.by_name.get(argument)
    if scaled is None or scaled.op != "mul" or scaled.inputs.count(x) != 1:
        return None
    (factor,) = (graph.constants.get(name) for name in scaled.inputs if name != x)
    if factor is None or factor.size != 1:
        return None
    return "quick_gelu" if isclose(factor.item(), QUICK_GELU_FACTOR, rel_tol=1e-6) else None
