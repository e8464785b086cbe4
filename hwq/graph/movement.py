"""Data movement on arrays: what reshape, permute, slice, select, expand and concat mean."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.graph.ir import Node

Array = NDArray[Any]


def _slice(node: Node, x: Sequence[Array]) -> Array:
    index = [slice(None)] * x[0].ndim
    index[node.attrs["axis"]] = slice(node.attrs["start"], node.attrs["stop"])
    return x[0][tuple(index)]


MOVEMENT: Mapping[str, Callable[[Node, Sequence[Array]], Array]] = {
    "reshape": lambda node, x: x[0].reshape(node.attrs["shape"]),
    "permute": lambda node, x: x[0].transpose(node.attrs["axes"]),
    "slice": _slice,
    "select": lambda node, x: x[0][(slice(None),) * node.attrs["axis"] + (node.attrs["index"],)],
    "expand": lambda node, x: np.broadcast_to(x[0], node.attrs["shape"]),
    "concat": lambda node, x: np.concatenate(list(x), axis=node.attrs["axis"]),
}


def move(node: Node, operands: Sequence[Array]) -> Array:
    """Apply a movement node to arrays of any dtype."""
    return MOVEMENT[node.op](node, operands)


def compress(values: Array) -> Array:
    """Reduce every axis along which the values do not change to length 1."""
    for axis in range(values.ndim):
        first = values.take([0], axis=axis)
        if (values == first).all():
            values = first
    return np.ascontiguousarray(values)
