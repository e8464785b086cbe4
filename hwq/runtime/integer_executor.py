"""What an integer graph means, fast: numba kernels, integers only."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.graph.ir import Graph, Node
from hwq.numerics.gemm import PackedOperand, gemm, pack
from hwq.quantizers.mac_form import MacForm
from hwq.runtime.fused.fuse import fuse
from hwq.runtime.image_executor import ImageExecutor, unit_ops
from hwq.runtime.step import Array, IntegerFunction, Step


class IntegerExecutor(ImageExecutor):
    """The fast executor: equal to `ReferenceExecutor` on every tensor."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, INTEGER_OPS)

    def steps(self, keep: frozenset[str]) -> list[Step]:
        """Return as few steps as compute all tensors in `keep`."""
        return fuse(self.graph, self.functions, keep)


def _linear(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
    codes, weight = x[0], x[1]
    return _product(node, codes.reshape(-1, codes.shape[-1]), pack(weight.T)), 0


def _matmul(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
    a, b = x
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    right = np.ascontiguousarray(np.broadcast_to(b, (*a.shape[:-2], depth, columns)))
    offset = node.attrs["form"].offset
    parts = [
        _product(node, left, pack(matrix)).reshape(rows, columns) - _column_sums(matrix, offset)
        for left, matrix in zip(
            a.reshape(-1, rows, depth), right.reshape(-1, depth, columns), strict=True
        )
    ]
    return np.stack(parts).reshape(node.output.shape), 0


def _column_sums(b: Array, offset: int) -> Array | np.int32:
    """What an offset of the codes of operand a adds to every row: int32[N]; 0 without one."""
    return np.int32(offset) * b.sum(0, dtype=np.int32) if offset else np.int32(0)


def _product(node: Node, a: Array, b: PackedOperand) -> Array:
    """codes[M, K] x packed[K, N] -> int32 or, with several planes, int64 in the node's shape."""
    form = node.attrs["form"]
    a = np.ascontiguousarray(a)
    if form.pe.multiplies and form.pe.shifts == 1:
        acc: Array = gemm(a, b)
    else:
        index = a.view(np.uint8)
        planes = [gemm(table[index], b) for table in _negated_tables(form)]
        acc = _combine(planes, [-weight for weight in form.plane_weights])
    return acc.reshape(node.output.shape) if node.op == "linear" else acc


@lru_cache(maxsize=256)
def _negated_tables(form: MacForm) -> list[NDArray[np.int16]]:
    """Minus what each plane sees of every code: -2**15 fits 16 bits, 2**15 does not."""
    return [(-table).astype(np.int16) for table in form.plane_tables()]


def _combine(planes: Sequence[Array], weights: Sequence[int]) -> Array:
    if len(planes) == 1:
        return planes[0] * np.int32(weights[0])
    total = planes[0].astype(np.int64) * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        total += plane.astype(np.int64) * weight
    return total


INTEGER_OPS: Mapping[str, IntegerFunction] = {
    **unit_ops("compute"),
    "linear": _linear,
    "matmul": _matmul,
}
