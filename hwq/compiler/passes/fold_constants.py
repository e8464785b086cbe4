"""Evaluates at compile time what depends on constants only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwq.compiler.passes.base import Pass
from hwq.graph.ir import Graph, Node, constant_like
from hwq.graph.movement import MOVEMENT, Array

_EVALUATE: Mapping[str, Callable[[Node, Sequence[Array]], Array]] = {
    **MOVEMENT,
    "add": lambda node, x: np.add(x[0], x[1]),
    "mul": lambda node, x: np.multiply(x[0], x[1]),
}


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replaces additions, products and movement of constants by their value.

    ::

        cls: float32[1x1x4]; e: float32[2x1x4] = expand(cls) {shape=(2, 1, 4)}
        -> constant e: float32[2, 1, 4]
    """

    name: ClassVar[str] = "fold_constants"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph with every constant expression evaluated."""
        constants = dict(graph.constants)
        nodes = []
        for node in graph.nodes:
            if node.op in _EVALUATE and all(name in constants for name in node.inputs):
                value = _EVALUATE[node.op](node, [constants[name] for name in node.inputs])
                constants[node.name] = constant_like(value, str(value.dtype))
            else:
                nodes.append(node)
        return graph.rebuild(nodes, constants=constants)
