"""ATen's element-wise operations, activations and means, and what does nothing in a graph."""

from collections.abc import Mapping, Sequence
from math import prod

import torch

from hwq.graph.aten.builder import Builder, Operand, Refused, Value
from hwq.graph.aten.rules import Rule

Number = int | float


def _scaled(build: Builder, operand: Operand, factor: Number) -> Operand:
    """Return factor * operand, computed here where it is a constant."""
    if factor == 1:
        return operand
    if isinstance(operand, Value):
        return build.emit("mul", [operand, factor])
    return operand * factor


def _add(build: Builder, x: Operand, other: Operand, alpha: Number = 1) -> Value:
    return build.emit("add", [x, _scaled(build, other, alpha)])


def _sub(build: Builder, x: Operand, other: Operand, alpha: Number = 1) -> Value:
    return build.emit("add", [x, _scaled(build, other, -alpha)])


def _rsub(build: Builder, x: Operand, other: Operand, alpha: Number = 1) -> Value:
    return _sub(build, other, x, alpha)


def _mul(build: Builder, x: Operand, other: Operand) -> Value:
    return build.emit("mul", [x, other])


def _div(build: Builder, x: Operand, other: Operand) -> Value:
    if isinstance(other, Value):
        raise Refused("it divides by a tensor that depends on the image")
    divisor = torch.as_tensor(other, dtype=torch.float64)
    return build.emit("mul", [x, (1.0 / divisor).to(torch.float32)])


def _neg(build: Builder, x: Value) -> Value:
    return build.emit("mul", [x, -1])


def _gelu(build: Builder, x: Value, approximate: str = "none") -> Value:
    return _activation(build, x, "gelu_tanh" if approximate == "tanh" else "gelu")


def _activation(build: Builder, x: Value, function: str) -> Value:
    return build.emit("activation", [x], function=function)


def _silu(build: Builder, x: Value) -> Value:
    return _activation(build, x, "silu")


def _relu(build: Builder, x: Value) -> Value:
    return _activation(build, x, "relu")


def _sigmoid(build: Builder, x: Value) -> Value:
    return _activation(build, x, "sigmoid")


def _mean(
    build: Builder, x: Value, dim: Sequence[int] | None = None, keepdim: bool = False
) -> Value:
    axes = sorted({axis % x.rank for axis in (dim or range(x.rank))})
    if len(axes) != 1:
        raise Refused(f"it is over axes {axes} of {x.rank}; only one is known")
    return build.emit("mean", [x], axis=axes[0], keepdim=bool(keepdim))


def _sum(
    build: Builder, x: Value, dim: Sequence[int] | None = None, keepdim: bool = False
) -> Value:
    mean = _mean(build, x, dim, keepdim)
    return build.emit("mul", [mean, prod(x.shape) / prod(mean.shape)])


def _same(build: Builder, x: Value) -> Value:
    return x


def _type_as(build: Builder, x: Value, other: Operand) -> Value:
    return x


def _dropout(build: Builder, x: Value, p: float, train: bool) -> Value:
    if train and p:
        raise Refused(f"it is active: p={p}, train=True")
    return x


ELEMENTWISE: Mapping[str, Rule] = {
    "add.Tensor": _add,
    "add.Scalar": _add,
    "sub.Tensor": _sub,
    "sub.Scalar": _sub,
    "rsub.Tensor": _rsub,
    "rsub.Scalar": _rsub,
    "mul.Tensor": _mul,
    "mul.Scalar": _mul,
    "div.Tensor": _div,
    "div.Scalar": _div,
    "div.Tensor_mode": _div,
    "div.Scalar_mode": _div,
    "neg.default": _neg,
    "gelu.default": _gelu,
    "silu.default": _silu,
    "relu.default": _relu,
    "sigmoid.default": _sigmoid,
    "mean.dim": _mean,
    "mean.default": _mean,
    "sum.dim_IntList": _sum,
    "sum.default": _sum,
    "dropout.default": _dropout,
    "type_as.default": _type_as,
    **dict.fromkeys(
        [
            "alias.default",
            "clone.default",
            "contiguous.default",
            "detach.default",
            "lift_fresh_copy.default",
            "to.device",
            "to.dtype",
            "to.dtype_layout",
            "_to_copy.default",
        ],
        _same,
    ),
}
