"""What an integer graph means, slow and obvious: numpy int64 and the units' references."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwq.graph.ir import Graph, Node
from hwq.runtime.image_executor import ImageExecutor, unit_ops
from hwq.runtime.step import Array, IntegerFunction


class ReferenceExecutor(ImageExecutor):
    """The truth that `IntegerExecutor` must equal."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, REFERENCE_OPS)


def _product(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
    """Sum over k of value(code of a) * (code of b), in int64.

    The offset of a's codes is subtracted here if b is computed, in the epilogue if b is constant.
    """
    a, b = x
    form = node.attrs["form"]
    table = form.value_table()
    values = table[a.astype(np.int64) & (len(table) - 1)]
    if node.op == "linear":
        b = b.T
    else:
        values = values - form.offset
    acc = np.matmul(values, b.astype(np.int64))
    return acc.astype(node.output.dtype), 0


REFERENCE_OPS: Mapping[str, IntegerFunction] = {
    **unit_ops("reference"),
    "linear": _product,
    "matmul": _product,
}
