"""Turns an integer graph into steps: chains of nodes that nobody else reads become one kernel."""

from collections.abc import Collection, Mapping
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hwq.graph.ir import Graph, Node
from hwq.graph.movement import MOVEMENT
from hwq.numerics.epilogue import ZERO_POINT_BITS, Epilogue
from hwq.numerics.units import unit_of_spec
from hwq.runtime.fused.attention_step import AttentionStep
from hwq.runtime.fused.kernels import Left, Product, has_digits
from hwq.runtime.fused.linear_step import LinearStep
from hwq.runtime.fused.lookup import code_table, every_value
from hwq.runtime.fused.operands import (
    LeftOperand,
    prepare_computed,
    prepare_constant,
)
from hwq.runtime.fused.outliers import Join, Split, spare_magnitude
from hwq.runtime.fused.rescale import Rescale
from hwq.runtime.fused.row_steps import EncodeStep, NormStep
from hwq.runtime.fused.steps import NO_VALUES, Encoder, Rescaling
from hwq.runtime.step import IntegerFunction, MoveStep, NodeStep, Step

_NARROW = ("int8", "uint8", "int16")
_ATTENTION = ("matmul", "requantize", "softmax", "encode", "matmul", "requantize")


def fuse(
    graph: Graph, functions: Mapping[str, IntegerFunction], keep: Collection[str]
) -> list[Step]:
    """Return steps that compute every tensor in `keep`.

    Parameters
    ----------
    graph : Graph
        Integer graph.
    functions : Mapping
        What an operation does where it is not fused.
    keep : collection of str
        Tensors that must exist afterwards.
    """
    return _Fuser(graph, functions, keep).steps()


def _arrays(unit: Epilogue) -> tuple[NDArray[np.int64], ...]:
    return unit.bias, unit.correction, unit.mult, unit.shift, unit.zero_point


def _is_elementwise(unit: Any) -> bool:
    """Whether every element is encoded alike, and every image."""
    if isinstance(unit, Epilogue):
        return unit.factor is None and all(values.size == 1 for values in _arrays(unit))
    return not unit_of_spec(unit).fields


class _Fuser:
    def __init__(
        self, graph: Graph, functions: Mapping[str, IntegerFunction], keep: Collection[str]
    ) -> None:
        self.graph, self.functions, self.keep = graph, functions, frozenset(keep)
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)

    def steps(self) -> list[Step]:
        """Fuse from every node that is not part of an earlier step."""
        # a step comes where its last node was: all else that it reads is there by then
        at: dict[str, Step] = {}
        inside: set[str] = set()
        for node in self.graph.nodes:
            if node.name in inside:
                continue
            nodes, step = self._fused(node) or ((node,), self._alone(node))
            inside.update(part.name for part in nodes)
            at[nodes[-1].name] = step
        return [at[node.name] for node in self.graph.nodes if node.name in at]

    def _fused(self, node: Node) -> tuple[tuple[Node, ...], Step] | None:
        starts = {
            "linear": self._linear,
            "encode": self._encode,
            "matmul": self._attention,
            "layer_norm": self._norm,
        }
        step = starts[node.op](node) if node.op in starts else None
        return None if step is None else (tuple(step.nodes), step)

    def _reader(self, node: Node, place: int = 0) -> Node | None:
        """The only reader of a node that nobody asks for, if it is that operand of it."""
        readers = self.readers.get(node.name, [])
        if len(readers) != 1 or node.name in self.keep:
            return None
        return readers[0] if readers[0].inputs.index(node.name) == place else None

    def _chain(self, node: Node, ops: tuple[str, ...]) -> list[Node]:
        """The node and its readers as far as they are of these operations."""
        nodes = [node]
        for op in ops:
            following = self._reader(nodes[-1])
            if following is None or following.op != op:
                break
            nodes.append(following)
        return nodes

    def _is_signed(self, name: str) -> bool | None:
        """Whether codes are int8; None where they have another type than 8 bits."""
        return {"int8": True, "uint8": False}.get(self.graph.tensors[name].dtype)

    def _rescaling(self, node: Node, heads: int = 1, wide: bool = False) -> Rescaling | None:
        """The rescaling of a node whose unit is an epilogue with narrow results."""
        unit = node.attrs["unit"]
        if not isinstance(unit, Epilogue) or node.output.dtype not in _NARROW:
            return None
        if int(np.abs(unit.zero_point).max()) >= 1 << ZERO_POINT_BITS - 1:
            return None
        rows = {1, heads} if heads > 1 else {1}
        columns = node.output.shape[-1]
        for values in _arrays(unit):
            if values.ndim and values.shape[-1] not in (1, columns):
                return None
            if values.ndim > 1 and (
                values.shape[-2] != 1 or values.size // values.shape[-1] not in rows
            ):
                return None
        scales = node.inputs[1] if unit.factor is not None else None
        return Rescaling(Rescale(unit, columns if wide else 0), scales)

    def _encoder(self, node: Node, activation: Node | None = None) -> Encoder | None:
        """The encoder of 16-bit values, behind an activation if there is one."""
        source = (node if activation is None else activation).inputs[0]
        dtype, unit = self.graph.tensors[source].dtype, node.attrs["unit"]
        if node.output.dtype not in ("int8", "uint8") or dtype not in ("int16", "uint16"):
            return None
        values = every_value(dtype == "int16")
        if activation is not None:
            if activation.output.dtype != "int16":
                return None
            values = activation.attrs["unit"].compute(values).astype(np.int16)
        if _is_elementwise(unit) and (activation is not None or not isinstance(unit, Epilogue)):

            def function(x: Any) -> Any:
                return unit.compute(values[np.newaxis, x.view(np.uint16)])

            return Encoder(code_table(function, dtype == "int16"))
        rescaling = self._rescaling(node)
        if rescaling is None:
            return None
        shaped = NO_VALUES if activation is None else values.astype(np.int16)
        return Encoder(rescaling=rescaling, activation=shaped)

    def _linear(self, node: Node) -> LinearStep | None:
        product = self._product(node)
        nodes = self._chain(node, ("requantize",))
        if product is None or len(nodes) < 2:
            return None
        rescaling = self._rescaling(nodes[1], wide=has_digits(product[0]))
        if rescaling is None:
            return None
        return self._followed(nodes, product, rescaling)

    def _alone(self, node: Node) -> Step:
        if node.op in MOVEMENT:
            return MoveStep(node, MOVEMENT[node.op], node.inputs, node.name)
        return NodeStep(node, self.functions[node.op])

    def _encode(self, node: Node) -> LinearStep | EncodeStep | None:
        step = self._linear_with_outliers(node)
        if step is not None:
            return step
        encoder = self._encoder(node)
        return None if encoder is None else EncodeStep([node], encoder)

    def _linear_with_outliers(self, node: Node) -> LinearStep | None:
        """What is split, multiplied and joined, all by nodes that nobody else reads."""
        source = node.inputs[0]
        if self.graph.tensors[source].dtype != "int16" or node.name in self.keep:
            return None
        split = [other for other in self.readers[source] if other.op == "outlier_split"]
        chain = self._chain(node, ("linear", "outlier_join", "requantize"))
        if len(split) != 1 or len(chain) != 4 or self._reader(split[0], 1) is not chain[2]:
            return None
        encode, linear, join, requantize = chain
        unit, product = encode.attrs["unit"], self._product(linear)
        rescaling = self._rescaling(requantize, wide=True)
        if product is None or rescaling is None or split[0].attrs["unit"] is not unit:
            return None
        # joined sums of 46 bits have no room for guard bits, nor for several digits
        if requantize.attrs["unit"].guard or has_digits(product[0]):
            return None
        b = np.ascontiguousarray(self.graph.constants[linear.inputs[1]].T)
        joined = join.attrs["unit"]
        correction = np.broadcast_to(joined.correction, b.shape[1]).astype(np.int64)
        outliers = (
            (unit.mult, unit.shift, unit.zero_point, unit.threshold, unit.top),
            (b, correction, joined.row_mult, spare_magnitude(b, correction, unit.top)),
        )
        nodes = [encode, split[0], linear, join, requantize]
        return self._followed(nodes, product, rescaling, outliers)

    def _product(self, node: Node) -> tuple[Left, Product] | None:
        """Both operands of a linear layer whose codes and weights have at most 8 bits."""
        signed = self._is_signed(node.inputs[0])
        weight = self.graph.constants.get(node.inputs[1])
        if signed is None or weight is None or weight.dtype != np.int8:
            return None
        return prepare_constant(LeftOperand.of(node.attrs["form"], signed), weight.T)

    def _followed(
        self,
        nodes: list[Node],
        product: tuple[Left, Product],
        rescaling: Rescaling,
        outliers: tuple[Split, Join] | None = None,
    ) -> LinearStep:
        """The step, with what follows its rescaling."""
        if nodes[-1].output.dtype != "int16":
            return LinearStep(nodes, product, rescaling, outliers)
        tail = self._chain(nodes[-1], ("activation", "encode"))
        encoder = self._encoder(tail[2], tail[1]) if len(tail) == 3 else None
        if encoder is not None:
            return LinearStep([*nodes, *tail[1:]], product, rescaling, outliers, None, encoder)
        add = self._addition(nodes[-1])
        if add is None:
            return LinearStep(nodes, product, rescaling, outliers)
        residual = next(name for name in add.inputs if name != nodes[-1].name)
        return LinearStep([*nodes, add], product, rescaling, outliers, residual)

    def _addition(self, node: Node) -> Node | None:
        """The only reader, if it adds another tensor of the same shape."""
        readers = self.readers.get(node.name, [])
        if len(readers) != 1 or readers[0].op != "add" or node.name in self.keep:
            return None
        operands = [self.graph.tensors[name] for name in readers[0].inputs]
        alike = {(tensor.dtype, tensor.shape) for tensor in operands} == {
            ("int16", readers[0].output.shape)
        }
        return readers[0] if alike and len({tensor.name for tensor in operands}) == 2 else None

    def _attention(self, node: Node) -> AttentionStep | None:
        nodes = self._chain(node, _ATTENTION[1:])
        if tuple(part.op for part in nodes) != _ATTENTION:
            return None
        scores, first, _, encode, product, second = nodes
        shapes = [self.graph.shape(name) for name in (*scores.inputs, product.inputs[1])]
        if first.output.dtype != "int16" or len({shape[:-2] for shape in shapes}) != 1:
            return None
        heads = prod(shapes[0][:-2])
        products = [self._computed_product(part) for part in (scores, product)]
        encoder = self._encoder(encode)
        if products[0] is None or products[1] is None or encoder is None:
            return None
        wide = has_digits(products[1][0])
        rescalings = self._rescaling(first, heads), self._rescaling(second, heads, wide)
        if None in rescalings:
            return None
        return AttentionStep(nodes, cast(Any, tuple(products)), cast(Any, rescalings), encoder)

    def _computed_product(self, node: Node) -> tuple[Left, Product, int] | None:
        """Both operands of a product of two activations of at most 8 bits."""
        signed = self._is_signed(node.inputs[0])
        right, form = self.graph.tensors[node.inputs[1]], node.attrs["form"]
        if signed is None or right.dtype != "int8":
            return None
        depth, columns = right.shape[-2:]
        left, bits = LeftOperand.of(form, signed), right.quant.bits
        return prepare_computed(left, (depth, columns), bits, form.offset)

    def _norm(self, node: Node) -> NormStep | None:
        nodes = self._chain(node, ("encode",))
        if len(nodes) != 2 or node.output.dtype != "int16":
            return None
        encoder = self._encoder(nodes[1])
        return None if encoder is None else NormStep(nodes, node.attrs["unit"].affine, encoder)
