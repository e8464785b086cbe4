"""The state of lowering to integers: what has been emitted, and what its integers stand for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hwq.compiler.accumulator import NOTHING, Accumulator, to_fixed
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
        self.shapes = {tensor.name: tensor for tensor in graph.inputs}
        self.alias: dict[str, str] = {}
        self.accumulators: dict[str, Accumulator] = {}

    def emit(
        self, node: Node, inputs: tuple[str, ...], quant: Any, dtype: np.dtype[Any], **attrs: Any
    ) -> None:
        """Append the integer counterpart of `node`, under its own name."""
        self.quants[node.name] = quant
        self.dtypes[node.name] = dtype
        output = Tensor(node.name, node.output.shape, str(dtype), quant)
        self.shapes[node.name] = output
        self.nodes.append(Node(node.op, inputs, output, attrs))

    def operand(self, name: str) -> str:
        """Name of the integer tensor for a code-carrying tensor of the quantised graph."""
        return self.alias.get(name, name)

    def emit_unit(
        self, node: Node, inputs: tuple[str, ...], native: FixedPoint, **attrs: Any
    ) -> None:
        """Append the unit of `node`, whose output has the format `native`, and convert that."""
        form = fixed_form(node)
        if (native.frac, native.signed) == (form.frac, form.signed):
            self.emit(node, inputs, native, native.dtype, **attrs)
            return
        name = f"{node.name}.unit"
        unit = replace(node, output=replace(node.output, name=name))
        self.emit(unit, inputs, native, native.dtype, **attrs)
        self._convert(name, node.output, form)

    def fixed(self, name: str, form: FixedPoint) -> str:
        """Name of the integers of `name` in the format `form`."""
        if name in self.graph.constants:
            integers = f"{name}.q{form.bits}_{form.frac}"
            self.constants[integers] = constant_like(
                form.from_float(self.graph.constants[name]), str(form.dtype)
            )
            return integers
        return self.converted(name, lambda _: form)

    def converted(self, name: str, legal: Callable[[FixedPoint], FixedPoint]) -> str:
        """Name of the integers of a tensor in the nearest format that its reader takes.

        Parameters
        ----------
        name : str
            A tensor in fixed point.
        legal : callable
            Format of the tensor -> the format that is taken; the same where nothing is to be done.
        """
        self.frac(name)
        form, wanted = self.quants[name], legal(self.quants[name])
        same_place = (form.frac, form.dtype) == (wanted.frac, wanted.dtype)
        if same_place and form.bits <= wanted.bits:
            return name
        target = f"{name}.q{wanted.bits}_{wanted.frac}"
        if target not in self.quants:
            self._convert(name, replace(self.shapes[name], name=target), wanted)
        return target

    def _convert(self, source: str, output: Tensor, form: FixedPoint) -> None:
        """Append the conversion of a fixed-point tensor: rounded, and saturated."""
        plain = Accumulator(np.asarray(2.0 ** -self.frac(source)), NOTHING, NOTHING, None)
        node = Node("encode", (source,), output)
        self.emit(node, node.inputs, form, form.dtype, unit=to_fixed(plain, form))

    def frac(self, name: str) -> int:
        """Fraction bits of a fixed-point tensor."""
        form = self.quants.get(name)
        if not isinstance(form, FixedPoint):
            raise GraphError(f"{name} is no fixed-point tensor, where a unit needs one")
        return form.frac


def fixed_form(node: Node) -> FixedPoint:
    """Return the format that a method gave to a tensor.

    Raises
    ------
    GraphError
        When it has none.
    """
    form = node.output.quant
    if not isinstance(form, FixedPoint):
        raise GraphError(f"{node.name}: {node.op} has no fixed-point format")
    return form
