"""ATen's matrix products, convolutions, normalisations and attention."""

from collections.abc import Mapping, Sequence

import torch

from hwq.graph.aten.builder import Builder, Operand, Refused, Value
from hwq.graph.aten.rules import Rule

_Weight = Operand | None


def _linear(build: Builder, x: Value, weight: Operand, bias: _Weight = None) -> Value:
    if isinstance(weight, Value):
        product = _matmul(build, x, _transposed(build, weight))
        return product if bias is None else build.emit("add", [product, bias])
    if isinstance(bias, Value):
        return build.emit("add", [build.emit("linear", [x, weight]), bias])
    return build.emit("linear", [x, weight] if bias is None else [x, weight, bias])


def _matmul(build: Builder, x: Operand, other: Operand) -> Value:
    a, b = build.value(x), build.value(other)
    if a.rank < 2 or b.rank < 2:
        raise Refused("an operand is a vector; only matrices are multiplied")
    return build.emit("matmul", [a, b], alpha=1.0)


def _bmm(build: Builder, x: Operand, mat2: Operand) -> Value:
    return _matmul(build, x, mat2)


def _addmm(build: Builder, x: Operand, mat1: Operand, mat2: Operand) -> Value:
    return build.emit("add", [_matmul(build, mat1, mat2), x])


def _conv2d(
    build: Builder,
    x: Value,
    weight: Operand,
    bias: _Weight = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
) -> Value:
    if not isinstance(weight, torch.Tensor) or isinstance(bias, Value):
        raise Refused("its weights depend on the image")
    if padding == "same" and set(weight.shape[2:]) != {1}:
        raise Refused("it pads its input")
    padding = (0, 0) if isinstance(padding, str) else padding
    stride, padding = (tuple(pair) * (2 // len(pair)) for pair in (stride, padding))
    operands: list[Operand] = [x, weight] if bias is None else [x, weight, bias]
    return build.emit("conv2d", operands, stride=stride, padding=padding)


def _layer_norm(
    build: Builder,
    x: Value,
    normalized_shape: Sequence[int],
    weight: _Weight = None,
    bias: _Weight = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Value:
    return _normalise(build, x, normalized_shape, [weight, bias], eps=float(eps), centered=True)


def _rms_norm(
    build: Builder,
    x: Value,
    normalized_shape: Sequence[int],
    weight: _Weight = None,
    eps: float | None = None,
) -> Value:
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    return _normalise(build, x, normalized_shape, [weight, None], eps=float(eps), centered=False)


def _normalise(
    build: Builder,
    x: Value,
    normalized_shape: Sequence[int],
    parameters: Sequence[_Weight],
    **attrs: float | bool,
) -> Value:
    if len(normalized_shape) != 1:
        raise Refused("it normalises over more than the last axis")
    if any(isinstance(parameter, Value) for parameter in parameters):
        raise Refused("its weights depend on the image")
    weight, bias = parameters
    if weight is None and isinstance(bias, torch.Tensor):
        weight = torch.ones_like(bias)
    operands = [x, *(parameter for parameter in (weight, bias) if parameter is not None)]
    return build.emit("layer_norm", operands, **attrs)


def _softmax(build: Builder, x: Value, dim: int) -> Value:
    if dim % x.rank != x.rank - 1:
        raise Refused(f"it is over axis {dim} of {x.rank}, not the last")
    return build.emit("softmax", [x], base="e")


def _internal_softmax(build: Builder, x: Value, dim: int, half_to_float: bool) -> Value:
    return _softmax(build, x, dim)


def _attention(
    build: Builder,
    query: Operand,
    key: Operand,
    value: Operand,
    attn_mask: Operand | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Value:
    """Scaled dot-product attention, written out."""
    if dropout_p:
        raise Refused(f"its dropout is active: dropout_p={dropout_p}")
    q, k, v = (build.value(operand) for operand in (query, key, value))
    alpha = float(q.shape[-1] ** -0.5 if scale is None else scale)
    # an accumulator's scale is positive
    scores = build.emit("matmul", [q, _transposed(build, k)], alpha=alpha if alpha > 0 else 1.0)
    if alpha <= 0:
        scores = build.emit("mul", [scores, alpha])
    if attn_mask is not None and not _lets_all_pass(attn_mask):
        scores = build.emit("add", [scores, attn_mask])
    weights = build.emit("softmax", [scores], base="e")
    return build.emit("matmul", [weights, v], alpha=1.0)


def _lets_all_pass(mask: Operand) -> bool:
    """Whether a mask of truth values masks nothing; one that does is refused."""
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        return False
    if not bool(mask.all()):
        raise Refused("its mask leaves out some keys")
    return True


def _transposed(build: Builder, x: Value) -> Value:
    """Return the matrices of `x` transposed."""
    if x.rank < 2:
        raise Refused("an operand is a vector; only matrices are multiplied")
    return build.emit("permute", [x], axes=(*range(x.rank - 2), x.rank - 1, x.rank - 2))


PRODUCTS: Mapping[str, Rule] = {
    "linear.default": _linear,
    "matmul.default": _matmul,
    "mm.default": _bmm,
    "bmm.default": _bmm,
    "addmm.default": _addmm,
    "conv2d.default": _conv2d,
    "conv2d.padding": _conv2d,
    "layer_norm.default": _layer_norm,
    "rms_norm.default": _rms_norm,
    "softmax.int": _softmax,
    "_softmax.default": _internal_softmax,
    "scaled_dot_product_attention.default": _attention,
}
