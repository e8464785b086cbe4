"""ATen's operations that move elements or repeat them."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch

from hwq.graph.aten.builder import Builder, Operand, Refused, Value
from hwq.graph.aten.rules import Rule

Axes = Sequence[int]


def _reshape(build: Builder, x: Operand, **described: Any) -> Value:
    """Whatever the arguments are, the shape of the result says it all."""
    return build.emit("reshape", [x], shape=build.result_shape)


def _expand(build: Builder, x: Operand, **described: Any) -> Value:
    """Whatever the arguments are, the shape of the result says it all."""
    return build.emit("expand", [x], shape=build.result_shape)


def _repeat(build: Builder, x: Value, repeats: Axes) -> Value:
    shape = (1,) * (len(repeats) - x.rank) + x.shape
    if any(count != 1 and size != 1 for count, size in zip(repeats, shape, strict=True)):
        raise Refused(f"it repeats {list(shape)} by {list(repeats)}; only axes of length 1 repeat")
    return build.emit("expand", [x], shape=build.result_shape)


def _permute(build: Builder, x: Value, dims: Axes) -> Value:
    return build.emit("permute", [x], axes=tuple(axis % x.rank for axis in dims))


def _transpose(build: Builder, x: Value, dim0: int, dim1: int) -> Value:
    axes = list(range(x.rank))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return build.emit("permute", [x], axes=tuple(axes))


def _swapaxes(build: Builder, x: Value, axis0: int, axis1: int) -> Value:
    return _transpose(build, x, axis0, axis1)


def _matrix_transpose(build: Builder, x: Value) -> Value:
    return x if x.rank < 2 else _transpose(build, x, -2, -1)


def _movedim(build: Builder, x: Value, source: int | Axes, destination: int | Axes) -> Value:
    sources, places = (
        [axis % x.rank for axis in ([axes] if isinstance(axes, int) else axes)]
        for axes in (source, destination)
    )
    rest = iter(axis for axis in range(x.rank) if axis not in sources)
    placed = dict(zip(places, sources, strict=True))
    return _permute(build, x, [placed[i] if i in placed else next(rest) for i in range(x.rank)])


def _select(build: Builder, x: Value, dim: int, index: int) -> Value:
    axis = dim % x.rank
    return build.emit("select", [x], axis=axis, index=index % x.shape[axis])


def _unbind(build: Builder, x: Value, dim: int = 0) -> tuple[Value, ...]:
    return tuple(_select(build, x, dim, index) for index in range(x.shape[dim]))


def _slice(
    build: Builder,
    x: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    axis = dim % x.rank
    size = x.shape[axis]
    first, last, _ = slice(start, end).indices(size)
    if first >= last:  # nothing, for `cat` to leave out
        return build.value(torch.zeros((*x.shape[:axis], 0, *x.shape[axis + 1 :])))
    if step == 1:
        return build.emit("slice", [x], axis=axis, start=first, stop=last)
    # groups of `step` elements that lie in x, of each of which one is selected
    count = -(-(last - first) // step)
    begin = min(first, size - count * step)
    if begin < 0:
        raise Refused(f"its step is {step}: {count} groups of as many are more than {size}")
    groups = build.emit("slice", [x], axis=axis, start=begin, stop=begin + count * step)
    shape = (*x.shape[:axis], count, step, *x.shape[axis + 1 :])
    grouped = build.emit("reshape", [groups], shape=shape)
    return build.emit("select", [grouped], axis=axis + 1, index=first - begin)


def _narrow(build: Builder, x: Value, dim: int, start: int, length: int) -> Value:
    start %= x.shape[dim]
    return _slice(build, x, dim, start, start + length)


def _split(build: Builder, x: Value, split_size: int, dim: int = 0) -> tuple[Value, ...]:
    size = x.shape[dim]
    whole, rest = divmod(size, split_size)
    return _split_sizes(build, x, [split_size] * whole + ([rest] if rest else []), dim)


def _split_sizes(build: Builder, x: Value, split_sizes: Axes, dim: int = 0) -> tuple[Value, ...]:
    starts = [sum(split_sizes[:index]) for index in range(len(split_sizes))]
    return tuple(
        _slice(build, x, dim, start, start + size)
        for start, size in zip(starts, split_sizes, strict=True)
    )


def _split_as_sizes(build: Builder, x: Value, split_size: Axes, dim: int = 0) -> tuple[Value, ...]:
    return _split_sizes(build, x, split_size, dim)


def _chunk(build: Builder, x: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    return _split(build, x, -(-x.shape[dim] // chunks), dim)


def _cat(build: Builder, tensors: Sequence[Operand], dim: int = 0) -> Value:
    # torch skips tensors of shape (0,), whatever the others' shapes
    values = [value for value in map(build.value, tensors) if prod(value.shape)]
    return build.emit("concat", values, axis=dim % values[0].rank)


def _stack(build: Builder, tensors: Sequence[Operand], dim: int = 0) -> Value:
    values = [build.value(tensor) for tensor in tensors]
    axis = dim % (values[0].rank + 1)
    shape = (*values[0].shape[:axis], 1, *values[0].shape[axis:])
    return _cat(build, [build.emit("reshape", [value], shape=shape) for value in values], axis)


MOVEMENT: Mapping[str, Rule] = {
    **dict.fromkeys(
        [
            "_unsafe_view.default",
            "flatten.using_ints",
            "reshape.default",
            "squeeze.default",
            "squeeze.dim",
            "squeeze.dims",
            "unflatten.int",
            "unsqueeze.default",
            "view.default",
        ],
        _reshape,
    ),
    "expand.default": _expand,
    "expand_as.default": _expand,
    "repeat.default": _repeat,
    "permute.default": _permute,
    "transpose.int": _transpose,
    "swapaxes.default": _swapaxes,
    "t.default": _matrix_transpose,
    "mT.default": _matrix_transpose,
    "movedim.int": _movedim,
    "movedim.intlist": _movedim,
    "select.int": _select,
    "unbind.int": _unbind,
    "slice.Tensor": _slice,
    "narrow.default": _narrow,
    "split.Tensor": _split,
    "split.sizes": _split_as_sizes,
    "split_with_sizes.default": _split_sizes,
    "chunk.default": _chunk,
    "cat.default": _cat,
    "stack.default": _stack,
}
