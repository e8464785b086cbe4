"""Layers of the outliers that codes leave out: a list, and what it adds to sums."""

from math import prod
from typing import Final

from hwq.compiler.emitter import Emitter
from hwq.compiler.program import VectorLayer
from hwq.graph.ir import Node
from hwq.numerics.outlier_join import MAX_ROW_MULT, SUM_BITS
from hwq.numerics.outlier_split import SIDE
from hwq.numerics.unit import Field
from hwq.numerics.units import UNITS, unit_of_spec

_JOINED_BITS = SUM_BITS + 1
_TOKEN_FACTOR = (Field("row_mult", MAX_ROW_MULT.bit_length(), signed=False),)
_PLACE_BITS: Final = 12
"""Of a token and of a channel; more where a network has more of them."""

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
    entry = Field("value", SIDE.bits), _place("token", prod(rows)), _place("channel", length)
    out = emitter.tensors.store_words(node.name, (room,), entry)
    emitter.append(node, inputs, (prod(rows), length), out, UNITS["move"])


def _place(name: str, count: int) -> Field:
    return Field(name, max(_PLACE_BITS, (count - 1).bit_length()), signed=False)


def emit_outlier_join(emitter: Emitter, node: Node) -> None:
    """A weight column times every outlier into the accumulators, then a factor per token."""
    dense, side, weight = node.inputs
    spec, layer, shape = node.attrs["unit"], node.attrs["source"], node.output.shape
    (columns, depth), rows = emitter.graph.shape(weight), prod(shape[:-1])
    expected = max(int(emitter.graph.by_name[side].attrs["expected"]), 1)
    inputs = [
        emitter.tensors.rows(dense, shape),
        emitter.tensors.stored[side],
        emitter.tensors.read(weight, (columns, depth), ("length", "all")),
        *emitter.tensors.parameters(
            f"{layer}.corrections", UNITS["outlier_join"].fields, spec, shape
        ),
    ]
    joined = emitter.tensors.out(
        emitter.tensors.store(f"{layer}.joined", shape, _JOINED_BITS, "int64"), shape
    )
    emitter.layers.append(
        VectorLayer(
            f"{layer}.outliers",
            node.op,
            expected,
            columns,
            tuple(inputs),
            joined,
            True,
            spec=spec,
        )
    )
    factors = emitter.tensors.table(
        f"{layer}.rows", _TOKEN_FACTOR, [spec.row_mult], (spec.row_mult.size, 1), shape
    )
    out = emitter.write(node, _JOINED_BITS)
    emitter.layers.append(
        VectorLayer(
            f"{layer}.rescale", "rescale", rows, columns, (joined, factors), out, True, spec=spec
        )
    )
    emitter.chain = emitter.chain | {joined.tensor, node.name}
