"""The state of lowering to integers: what has been emitted, and what its integers stand for."""

from typing import Any

import numpy as np

from hwq.compiler.accumulator import Accumulator
from hwq.errors import GraphError
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like
from hwq.numerics.fixed_point import FixedPoint

PIXELS = FixedPoint(8, 0, signed=False)
"""What the image holds."""


class Lowering:
    """A graph on its way to integers.

    Parameters
    ----------
    graph : Graph
        Quantised.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = {}
        self.quants: dict[str, Any] = {}
        self.dtypes = {tensor.name: np.dtype(np.uint8) for tensor in graph.inputs}
        self.alias: dict[str, str] = {}
        self.accumulators: dict[str, Accumulator] = {}

    def emit(
        self, node: Node, inputs: tuple[str, ...], quant: Any, dtype: np.dtype[Any], **attrs: Any
    ) -> None:
        """Append the integer counterpart of `node`, under its own name."""
        self.quants[node.name] = quant
        self.dtypes[node.name] = dtype
        output = Tensor(node.name, node.output.shape, str(dtype), quant)
        self.nodes.append(Node(node.op, inputs, output, attrs))

    def operand(self, name: str) -> str:
        """Name of the integer tensor for a code-carrying tensor of the quantised graph."""
        return self.alias.get(name, name)

    def fixed(self, name: str, form: FixedPoint) -> str:
        """Name of the integers of `name`, of which a constant is converted to `form`."""
        if name in self.graph.constants:
            integers = f"{name}.integers"
            self.constants[integers] = constant_like(
                form.from_float(self.graph.constants[name]), str(form.dtype)
            )
            return integers
        return name

    def frac(self, name: str) -> int:
        """Fraction bits of a fixed-point tensor."""
        form = self.quants[name]
        if not isinstance(form, FixedPoint):
            raise GraphError(f"{name} holds codes where fixed point is needed")
        return form.frac
