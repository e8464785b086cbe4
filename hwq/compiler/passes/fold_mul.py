"""Removes multiplications by constants: into the matrix product before or after them."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Constant, Graph, Node, constant_like
from hwq.graph.ops import OPS


@dataclass(frozen=True)
class FoldMul(Pass):
    """Folds a constant factor into a weight (layer scale) or a `matmul`'s alpha (1/sqrt(d)).

    ::

        y = linear(x, w, b); z = mul(y, gamma)      -> y = linear(x, gamma * w, gamma * b)
    y = add(linear, linear); z = mul(y, 0.5)    -> y = add(linear, linear) of halved weights
        s = mul(q, 0.125);   m = matmul(s, k)       -> m = matmul(q, k) {alpha=0.125}
        m = matmul(q, k);    s = mul(m, 0.125)      -> m = matmul(q, k) {alpha=0.125}

    A multiplication that fits none of these stays.
    """

    name: ClassVar[str] = "fold_mul"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with foldable multiplications gone."""
        for node in graph.nodes:
            if node.op == "mul" and node.name in graph.by_name:
                graph = _fold(graph, graph.by_name[node.name])
        return graph


def _fold(graph: Graph, node: Node) -> Graph:
    factor = _factor(graph, node)
    if factor is None:
        return graph
    source = next(name for name in node.inputs if name not in graph.constants)
    before = graph.by_name.get(source)
    alone = len(graph.consumers(source)) == 1
    if before is not None and alone and before.op == "linear":
        if factor.ndim <= 1 or factor.size == factor.shape[-1]:
            return _into_weights(graph, node, [before], factor.reshape(-1))
    if factor.size == 1:
        summands = _linear_summands(graph, before) if alone else []
        if summands:
            return _into_weights(graph, node, summands, factor.reshape(-1))
        if before is not None and alone and before.op == "matmul":
            return _drop(graph, node, {before.name: _value(factor)})
        after = _matmuls_after(graph, node)
        if after:
            targets = {name: _value(factor) ** after.count(name) for name in after}
            return _drop(graph, node, targets)
    return graph


def _factor(graph: Graph, node: Node) -> Constant | None:
    constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
    return constants[0] if len(constants) == 1 else None


def _linear_summands(graph: Graph, node: Node | None) -> list[Node]:
    """The linear layers that `node` adds, when it adds nothing else: two heads, averaged."""
    if node is None or node.op != "add":
        return []
    linears = [graph.by_name[name] for name in node.inputs if name in graph.by_name]
    fine = [n for n in linears if n.op == "linear" and len(graph.consumers(n.name)) == 1]
    return fine if len({n.name for n in fine}) == 2 else []


def _value(factor: Constant) -> float:
    return float(factor.reshape(-1)[0])


def _into_weights(graph: Graph, node: Node, linears: list[Node], factor: Constant) -> Graph:
    """Scale the weights of `linears` and drop `node`, whose readers then read its source."""
    constants = dict(graph.constants)
    folded: dict[str, tuple[str, ...]] = {}
    for linear in linears:
        names = [linear.inputs[0]]
        for name, shape in zip(linear.inputs[1:], ((-1, 1), (-1,)), strict=False):
            scaled = f"{name}.scaled"
            constants[scaled] = constant_like(constants[name] * factor.reshape(shape))
            names.append(scaled)
        folded[linear.name] = tuple(names)
    nodes = [
        replace(other, inputs=folded[other.name]) if other.name in folded else other
        for other in graph.nodes
    ]
    return _drop(replace(graph, nodes=tuple(nodes), constants=constants), node, {})


def _matmuls_after(graph: Graph, node: Node) -> list[str]:
    """Matmuls that read `node` through data movement, once per operand; empty if others do."""
    found: list[str] = []
    pending = [node]
    while pending:
        source = pending.pop().name
        for consumer in graph.consumers(source):
            if consumer.op == "matmul":
                found += [consumer.name] * consumer.inputs.count(source)
            elif OPS[consumer.op].movement:
                pending.append(consumer)
            else:
                return []
    return found if node.name not in graph.outputs else []


def _drop(graph: Graph, node: Node, targets: dict[str, float]) -> Graph:
    """Drop `node`; multiply the alpha of `targets`; readers of `node` read its source."""
    source = next(name for name in node.inputs if name not in graph.constants)
    nodes = []
    for other in graph.nodes:
        if other is node:
            continue
        inputs = tuple(source if name == node.name else name for name in other.inputs)
        attrs = other.attrs
        if other.name in targets:
            alpha = float(np.float64(attrs["alpha"]) * targets[other.name])
            attrs = {**attrs, "alpha": alpha}
        nodes.append(replace(other, inputs=inputs, attrs=attrs))
    outputs = [source if name == node.name else name for name in graph.outputs]
    return graph.rebuild(nodes, outputs=outputs)
