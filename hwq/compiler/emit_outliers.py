"""Layers of the outliers that codes leave out: a list, and what it adds to sums."""

from math import prod
from typing import Final

from hwq.compiler.emitter import Emitter
from hwq.compiler.program import MatmulLayer, VectorLayer
from hwq.errors import require
from hwq.graph.ir import Node
from hwq.numerics.outlier_join import SUM_BITS
from hwq.numerics.outlier_list import ENTRY
from hwq.numerics.units import UNITS, unit_of_spec

_ROOM: Final = (2, 16)
"""A list holds twice as many outliers as calibration expects, and a few."""


def emit_outlier_split(emitter: Emitter, node: Node) -> None:
    """Make a list of the outliers; their codes are another layer's."""
    shape, spec = node.output.shape, node.attrs["unit"]
    inputs = [emitter.tensors.rows(node.inputs[0], shape)]
    fields = unit_of_spec(spec).fields
    inputs += emitter.tensors.parameters(f"{node.name}.parameters", fields, spec, shape)
    expected = max(int(node.attrs["expected"]), 1)
    times, more = _ROOM
    room = min(times * expected + more, prod(shape))
    *rows, length = shape
    for part, count in zip(ENTRY[1:], (prod(rows), length), strict=True):
        most = 1 << part.bits
        require(count <= most, f"{node.name}: a list has at most {most} {part.name}s, not {count}")
    out = emitter.tensors.store_words(node.name, (room,), ENTRY)
    emitter.append(node, inputs, (prod(rows), length), out, UNITS["outlier_list"])


def emit_outlier_join(emitter: Emitter, node: Node) -> None:
    """Add outlier times weight to the sums of the product before, then a factor per token.

    The corrections of columns are the product's, which subtracts its offset.
    """
    dense, side, _ = node.inputs
    spec, name, shape = node.attrs["unit"], node.attrs["source"], node.output.shape
    product, unit = emitter.layers[-1], UNITS["outlier_join"]
    assert isinstance(product, MatmulLayer)
    expected = max(int(emitter.graph.by_name[side].attrs["expected"]), 1)
    inputs = (
        emitter.tensors.rows(dense, shape),
        emitter.tensors.stored[side],
        product.b,
        emitter.tensors.row_table(f"{name}.rows", unit.fields, spec.parameters(), shape),
    )
    out = emitter.write(node, SUM_BITS + 1)
    emitter.layers.append(
        VectorLayer(f"{name}.outliers", node.op, expected, shape[-1], inputs, out, True, spec=spec)
    )
    emitter.chain = emitter.chain | {node.name}
