"""The operations: arity, required attributes, shape inference and multiply-accumulate count.

One name means one thing in the float, the quantised and the integer graph; in the integer graph a
node carries in its attributes the unit that computes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from hwq.errors import GraphError
from hwq.graph.attributes import (
    ANYTHING,
    MAX_SIDE,
    SHAPE,
    SIDE,
    TRUTH,
    Kind,
    instance,
    number,
    one_of,
    several,
    whole,
)
from hwq.graph.ir import Tensor

Shape = tuple[int, ...]
ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "silu", "sigmoid", "relu")
"""What an `activation` computes: its attribute `function`."""

Infer = Callable[[Sequence[Shape], Mapping[str, Any]], Shape]


@dataclass(frozen=True, slots=True)
class OpDef:
    """What is legal for one operation.

    Parameters
    ----------
    arity : tuple of int
        Fewest and most inputs.
    infer : callable
        (input shapes, attrs) -> output shape; raises GraphError when they do not fit.
    attrs : Mapping[str, Kind]
        Attributes that must be present, and what each may be.
    integer : Mapping[str, Kind], optional
        The same in the integer graph, where it has others.
    quant : Kind, optional
        What its output's `quant` must be.
    movement : bool
        True when it only moves or repeats elements: it commutes with element-wise operations.
    """

    arity: tuple[int, int]
    infer: Infer
    attrs: Mapping[str, Kind] = field(default_factory=dict)
    integer: Mapping[str, Kind] | None = None
    quant: Kind | None = None
    movement: bool = False

    def attributes(self, output: Tensor) -> Mapping[str, Kind]:
        """Return the attributes of a node that computes `output`."""
        return self.attrs if output.dtype == "float32" or self.integer is None else self.integer


def _fit(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)


def broadcast(left: Shape, right: Shape) -> Shape:
    """Shape of an element-wise operation by numpy's broadcasting rule."""
    size = max(len(left), len(right))
    padded = [(1,) * (size - len(shape)) + shape for shape in (left, right)]
    result = []
    for a, b in zip(*padded, strict=True):
        _fit(a == b or 1 in (a, b), f"shapes {left} and {right} do not broadcast")
        result.append(max(a, b))
    return tuple(result)


def _same(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    return shapes[0]


def _elementwise(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    return broadcast(shapes[0], shapes[1])


def _linear(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    x, weight = shapes[0], shapes[1]
    _fit(len(weight) == 2, f"weight must have 2 dimensions, not {weight}")
    _fit(x[-1:] == weight[1:], f"input {x} does not fit weight {weight}")
    if len(shapes) > 2:
        _fit(shapes[2] == (weight[0],), f"bias {shapes[2]} does not fit weight {weight}")
    return (*x[:-1], weight[0])


def _conv2d(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    fits = len(shapes[0]) == len(shapes[1]) == 4 and shapes[0][1] == shapes[1][1]
    _fit(fits, f"input {shapes[0]} does not fit weight {shapes[1]}")
    (batch, _, *size), (filters, _, *window) = shapes[0], shapes[1]
    extent = [
        (s + 2 * p - w) // t + 1
        for s, w, t, p in zip(size, window, attrs["stride"], attrs["padding"], strict=True)
    ]
    return (batch, filters, *extent)


def _matmul(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    a, b = shapes
    _fit(len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2], f"{a} x {b} is not a matrix product")
    return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def _layer_norm(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    x = shapes[0]
    for parameter in shapes[1:]:
        _fit(parameter == x[-1:], f"parameter {parameter} does not fit input {x}")
    return x


def _reshape(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    shape: Shape = attrs["shape"]
    _fit(prod(shape) == prod(shapes[0]), f"cannot reshape {shapes[0]} to {shape}")
    return shape


def _permute(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    axes: Shape = attrs["axes"]
    _fit(sorted(axes) == list(range(len(shapes[0]))), f"axes {axes} do not fit {shapes[0]}")
    return tuple(shapes[0][axis] for axis in axes)


def _with_axis(x: Shape, axis: int) -> Shape:
    _fit(axis < len(x), f"axis {axis} does not exist in {x}")
    return x


def _slice(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    axis, start, stop = attrs["axis"], attrs["start"], attrs["stop"]
    x = _with_axis(shapes[0], axis)
    _fit(0 <= start < stop <= x[axis], f"slice {start}:{stop} leaves axis {axis} of {x}")
    return (*x[:axis], stop - start, *x[axis + 1 :])


def _select(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    axis, index = attrs["axis"], attrs["index"]
    x = _with_axis(shapes[0], axis)
    _fit(0 <= index < x[axis], f"index {index} leaves axis {axis} of {x}")
    return (*x[:axis], *x[axis + 1 :])


def _concat(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    axis = attrs["axis"]
    for x in shapes:
        _with_axis(x, axis)
    rest = {(*x[:axis], *x[axis + 1 :]) for x in shapes}
    _fit(len(rest) == 1, f"shapes {list(shapes)} differ outside axis {axis}")
    return (*shapes[0][:axis], sum(x[axis] for x in shapes), *shapes[0][axis + 1 :])


def _expand(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    shape: Shape = attrs["shape"]
    _fit(broadcast(shapes[0], shape) == shape, f"cannot expand {shapes[0]} to {shape}")
    return shape


def _mean(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    axis = attrs["axis"]
    x = _with_axis(shapes[0], axis)
    return (*x[:axis], *((1,) if attrs["keepdim"] else ()), *x[axis + 1 :])


def _declared(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    shape: Shape = attrs["shape"]
    return shape


def _range_extract(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    _fit(len(shapes[0]) == 3, f"input must be [1, T, C], not {shapes[0]}")
    _, tokens, channels = shapes[0]
    _fit(tokens % attrs["chunk_tokens"] == 0, f"{tokens} tokens are no multiple of a chunk")
    return (channels,)


AXIS = {"axis": whole(0, 15)}
_CHUNKS = {"chunk_tokens": whole(1, 1 << 16)}
_MEAN = AXIS | {"keepdim": TRUTH}
_UNIT = {"unit": ANYTHING}
# what a product's processing elements see of operand a, and the node that it was made of
_PRODUCT = {"form": instance("MacForm"), "source": instance("str")}

OPS: Mapping[str, OpDef] = {
    # matrix products
    "linear": OpDef((2, 3), _linear, integer=_PRODUCT | {"weight_bits": whole(2, 16)}),
    "conv2d": OpDef(
        (2, 3),
        _conv2d,
        {"stride": several(1, MAX_SIDE, 2), "padding": several(0, MAX_SIDE, 2)},
    ),
    "matmul": OpDef((2, 2), _matmul, {"alpha": number(-(2.0**30), 2.0**30)}, _PRODUCT),
    # element-wise and row-wise units
    "softmax": OpDef((1, 1), _same, {"base": one_of(2, "e")}, _UNIT),
    "activation": OpDef((1, 1), _same, {"function": one_of(*ACTIVATIONS)}, _UNIT),
    "layer_norm": OpDef((1, 3), _layer_norm, {"eps": number(0, 1), "centered": TRUTH}, _UNIT),
    "add": OpDef((2, 2), _elementwise, integer=_UNIT),
    "mul": OpDef((2, 2), _elementwise, integer=_UNIT),
    "mean": OpDef((1, 1), _mean, _MEAN, _MEAN | _UNIT),
    # data movement
    "reshape": OpDef((1, 1), _reshape, {"shape": SHAPE}, movement=True),
    "permute": OpDef((1, 1), _permute, {"axes": several(0, 15)}, movement=True),
    "slice": OpDef((1, 1), _slice, AXIS | {"start": SIDE, "stop": SIDE}, movement=True),
    "select": OpDef((1, 1), _select, AXIS | {"index": SIDE}, movement=True),
    "expand": OpDef((1, 1), _expand, {"shape": SHAPE}, movement=True),
    "concat": OpDef((1, 64), _concat, AXIS),
    # quantization: real -> code in the quantised graph; its optional second input is a tensor of
    # predicted log2 corrections, of which its quantizer reads one
    "quantize": OpDef((1, 2), _same, quant=instance("Quantizer")),
    # per-image scales: chunked extrema per channel, then all log2 corrections at once
    "range_extract": OpDef((1, 1), _range_extract, _CHUNKS, _CHUNKS | _UNIT),
    "scale_predictor": OpDef(
        (1, 1),
        _declared,
        {"predictor": ANYTHING, "shape": SHAPE},
        _UNIT | {"shape": SHAPE},
    ),
    # integer graph only: accumulator -> integers, fixed point -> code, per-image mult and bias
    "requantize": OpDef((1, 2), _same, _UNIT),
    "encode": OpDef((1, 2), _same, _UNIT),
    # integer graph only: the elements that codes leave out, and what they add to accumulators
    "outlier_split": OpDef((1, 1), _same, _UNIT | {"expected": SIDE}),
    "outlier_join": OpDef((3, 3), _same, _UNIT | {"source": instance("str")}),
}

PRODUCTS = frozenset({"linear", "matmul"})
"""The operations that the array computes."""


def multiply_accumulates(op: str, shapes: Sequence[Shape], output: Shape) -> int:
    """Multiply-accumulate operations of one node; 0 for anything but a matrix product."""
    if op == "linear":
        return prod(output) * shapes[1][1]
    if op == "conv2d":
        return prod(output) * prod(shapes[1][1:])
    if op == "matmul":
        return prod(output) * shapes[0][-1]
    return 0
