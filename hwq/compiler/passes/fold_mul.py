"""Removes multiplications by constants: into the matrix product before or after them."""

from dataclasses import dataclass
from typing import ClassVar

from hwq.compiler.absorb import absorb, scale_alpha
from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Constant, Graph, Node
from hwq.graph.ops import OPS


@dataclass(frozen=True)
class FoldMul(Pass):
    """Folds a constant factor into a weight (layer scale) or a `matmul`'s alpha (1/sqrt(d)).

    ::

        y = linear(x, w, b); z = mul(y, gamma)      -> y = linear(x, gamma * w, gamma * b)
        y = add(linear, linear); z = mul(y, 0.5)    -> y = add(linear, linear) of halved weights
        s = mul(q, 0.125);   m = matmul(s, k)       -> m = matmul(q, k) {alpha=0.125}
        m = matmul(q, k);    s = mul(m, 0.125)      -> m = matmul(q, k) {alpha=0.125}

    A multiplication that fits none of these stays, and so does one of a tensor that others read
    or that the network returns.
    """

    name: ClassVar[str] = "fold_mul"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with foldable multiplications gone."""
        for name in [node.name for node in graph.nodes if node.op == "mul"]:
            if name in graph.by_name:
                graph = _fold(graph, graph.by_name[name])
        return graph


def _fold(graph: Graph, node: Node) -> Graph:
    factors = [graph.constants[name] for name in node.inputs if name in graph.constants]
    if len(factors) != 1:
        return graph
    factor = factors[0]
    source = next(name for name in node.inputs if name not in graph.constants)
    if graph.shape(source) != node.output.shape or factor.size not in (1, node.output.shape[-1]):
        return graph
    if factor.size > 1 and factor.shape[-1] != factor.size:
        return graph
    producer = graph.by_name.get(source)
    moves = producer is None or OPS[producer.op].movement
    absorbed = None if moves else absorb(graph, source, factor.reshape(-1))
    if absorbed is None and factor.size == 1:
        absorbed = _into_matmuls_after(graph, node, factor)
    if absorbed is None and moves:
        absorbed = absorb(graph, source, factor.reshape(-1))
    return graph if absorbed is None else absorbed.without(absorbed.by_name[node.name], source)


def _into_matmuls_after(graph: Graph, node: Node, factor: Constant) -> Graph | None:
    """Multiply the alphas of the matmuls that read `node`, once per operand."""
    readers = _matmuls_after(graph, node)
    changed = {
        name: scale_alpha(graph.by_name[name], factor.item() ** readers.count(name))
        for name in readers
    }
    positive = {name: matmul for name, matmul in changed.items() if matmul is not None}
    return graph.replace_nodes(positive) if positive and len(positive) == len(changed) else None


def _matmuls_after(graph: Graph, node: Node) -> list[str]:
    """Matmuls that read `node` through data movement, once per operand; empty if others do."""
    readers: list[str] = []
    pending = [node]
    while pending:
        source = pending.pop().name
        if source in graph.outputs:
            return []
        for consumer in graph.consumers(source):
            if consumer.op == "matmul":
                readers += [consumer.name] * consumer.inputs.count(source)
            elif OPS[consumer.op].movement:
                pending.append(consumer)
            else:
                return []
    return readers
