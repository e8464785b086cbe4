"""What a quantised graph is: the contract between methods and everything behind them."""

from collections.abc import Sequence

from hwq.errors import GraphError, SpecError
from hwq.graph.ir import Graph, Node
from hwq.graph.ops import OPS, PRODUCTS
from hwq.methods.predictor import Predictor
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer

_RANGES = frozenset({"range_extract", "scale_predictor"})
_UNITS = frozenset({"add", "mul", "softmax", "activation", "layer_norm", "mean", "concat"})
_MOVEMENT = frozenset(op for op, row in OPS.items() if row.movement)
OPERATIONS = PRODUCTS | _UNITS | _MOVEMENT | _RANGES | {"quantize"}
"""What a quantised graph is made of."""


def check_quantized(graph: Graph, input_size: Sequence[int]) -> None:
    """Raise `GraphError` unless a graph, verified already, is what a method may return.

    One float32 image [1, *input_size]; matrix products of codes, which nothing else reads; a
    `FixedPoint` on every other tensor, but for the ranges that a scale predictor reads; and
    quantizers whose parameters fit their tensors. Nothing is left that no output needs.
    """
    image = graph.inputs[0]
    if image.shape != (1, *input_size) or image.quant is not None:
        raise GraphError(
            f"input {image.name!r} must be [1, {', '.join(map(str, input_size))}] of plain "
            f"pixels, not {list(image.shape)}"
        )
    needed = graph.rebuild(graph.nodes)
    for name in (*graph.by_name, *graph.constants):
        if name not in needed.tensors:
            raise GraphError(f"{name}: nothing reads it")
    ranges: set[str] = set()
    for node in graph.nodes:
        problem = _problem(graph, node, ranges)
        if problem is not None:
            raise GraphError(f"{node.name} ({node.op}): {problem}")
    for name in graph.outputs:
        if not isinstance(graph.tensors[name].quant, FixedPoint):
            raise GraphError(f"output {name!r} must be in fixed point")


def _problem(graph: Graph, node: Node, ranges: set[str]) -> str | None:
    if node.op not in OPERATIONS:
        return f"op must be one of {', '.join(sorted(OPERATIONS))}"
    for name in sorted(set(node.attrs) - set(OPS[node.op].attrs)):
        return f"unknown attribute {name!r:.60}"
    if node.op == "quantize":
        return _quantize(graph, node)
    if node.op in PRODUCTS:
        return _product(graph, node)
    codes = [name for name in node.inputs if _is_codes(graph, name)]
    if codes:
        return f"reads the codes {codes[0]!r}, which are for matrix products"
    if node.op in _RANGES or (node.op in _MOVEMENT | {"concat"} and ranges & set(node.inputs)):
        ranges.add(node.name)
        return _predicted(graph, node)
    if node.op == "layer_norm" and not set(node.inputs[1:]) <= set(graph.constants):
        return "gamma and beta must be constants"
    if ranges & set(node.inputs):
        return "reads ranges, which are for a scale predictor"
    return _fixed(node)


def _fixed(node: Node) -> str | None:
    if not isinstance(node.output.quant, FixedPoint):
        return "its tensor must be in fixed point"
    return None


def _quantize(graph: Graph, node: Node) -> str | None:
    quantizer: Quantizer = node.quantizer
    if _is_codes(graph, node.inputs[0]):
        return f"reads the codes {node.inputs[0]!r}"
    source = graph.tensors[node.inputs[0]]
    if source.name in graph.by_name and not isinstance(source.quant, FixedPoint):
        return f"reads {source.name!r}, which is not in fixed point"
    try:
        quantizer.check(node.output.shape)
    except SpecError as error:
        return f"quantizer.{error}"
    index = quantizer.correction
    if (index is not None) != (len(node.inputs) == 2):
        return "a dynamic quantizer, and no other, reads predicted corrections"
    if index is not None:
        predictor = graph.by_name.get(node.inputs[1])
        if predictor is None or predictor.op != "scale_predictor":
            return f"reads {node.inputs[1]!r}, which is no scale predictor"
        scales = predictor.output.shape[-1]
        if index >= scales:
            return f"quantizer.index must be in 0..{scales - 1}, not {index}"
    return None


def _product(graph: Graph, node: Node) -> str | None:
    for name in node.inputs[:2]:
        if not _is_codes(graph, name):
            return f"operand {name!r} must be codes"
    right = graph.tensors[node.inputs[1]].quant
    if right is None or right.uniform is not right:
        return f"operand {node.inputs[1]!r} must be uniform codes"
    for name, axis in zip(node.inputs, (-1, -1 if node.op == "linear" else -2), strict=False):
        if _varies_along(graph.tensors[name].quant, axis):
            return f"operand {name!r} must have one scale for all that is summed"
    for name in node.inputs[2:]:
        if name not in graph.constants:
            return f"bias {name!r} must be a constant"
    return _fixed(node)


def _varies_along(quantizer: Quantizer, axis: int) -> bool:
    static = quantizer.uniform
    if static is None:
        return False  # one scale, or one per row
    return any(
        value.ndim >= -axis and value.shape[axis] > 1 for value in (static.scale, static.zero_point)
    )


def _predicted(graph: Graph, node: Node) -> str | None:
    """What is wrong with the ranges of a predictor, or with the predictor."""
    if node.output.quant is not None:
        return "its tensor has no format of its own"
    if node.op != "scale_predictor":
        return None
    predictor = node.attrs["predictor"]
    if not isinstance(predictor, Predictor):
        return f"predictor must be a Predictor, not {predictor!r:.60}"
    try:
        predictor.check(graph.shape(node.inputs[0])[-1], node.output.shape)
    except SpecError as error:
        return f"predictor.{error}"
    return None


def _is_codes(graph: Graph, name: str) -> bool:
    return name in graph.by_name and graph.by_name[name].op == "quantize"
