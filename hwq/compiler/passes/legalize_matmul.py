"""Gives every matrix product operands that the array takes as they are."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like


@dataclass(frozen=True)
class LegalizeMatmul(Pass):
    """Rewrites a product with a constant matrix as a linear layer, and repeats shared operands.

    ::

        y = matmul(x, w) {alpha=a} of a constant w: [KxN]  -> y = linear(x, a * w transposed)
        y = matmul(q: [1xTxD], k: [8xDxT])                 -> y = matmul(q expanded to 8, k)
    """

    name: ClassVar[str] = "legalize_matmul"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with linear layers for products with constants."""
        constants: dict[str, Constant] = {}
        nodes: list[Node] = []
        for node in graph.nodes:
            if node.op != "matmul":
                nodes.append(node)
            elif _is_weight(graph, node):
                nodes.append(_linear(graph, node, constants))
            else:
                nodes += _expanded(graph, node)
        return graph.rebuild(nodes, {**graph.constants, **constants})


def _is_weight(graph: Graph, node: Node) -> bool:
    """Whether operand b is one constant matrix for all matrices of operand a."""
    a, b = (graph.shape(name) for name in node.inputs)
    return node.inputs[1] in graph.constants and set(b[:-2]) <= {1} and len(b) <= len(a)


def _linear(graph: Graph, node: Node, constants: dict[str, Constant]) -> Node:
    name = graph.free_name(f"{node.name}.weight")
    matrix = graph.constants[node.inputs[1]].reshape(graph.shape(node.inputs[1])[-2:])
    constants[name] = constant_like(matrix.T * np.float64(node.attrs["alpha"]))
    return replace(node, op="linear", inputs=(node.inputs[0], name), attrs={})


def _expanded(graph: Graph, node: Node) -> list[Node]:
    """The product, behind the repetition of an operand that has fewer matrices than the result."""
    nodes, inputs = [], []
    for operand, source in zip(("left", "right"), node.inputs, strict=True):
        shape = (*node.output.shape[:-2], *graph.shape(source)[-2:])
        if shape != graph.shape(source):
            name = graph.free_name(f"{node.name}.{operand}")
            nodes.append(Node("expand", (source,), Tensor(name, shape), {"shape": shape}))
            source = name
        inputs.append(source)
    return [*nodes, replace(node, inputs=tuple(inputs))]
