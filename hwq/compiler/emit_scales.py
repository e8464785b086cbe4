"""Layers of the scales that are predicted for each image: ranges, predictor, multipliers."""

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.emitter import Emitter, unit_of_node
from hwq.compiler.operand import Operand
from hwq.compiler.program import VectorLayer
from hwq.compiler.view import View
from hwq.graph.ir import Node
from hwq.numerics.epilogue import Epilogue
from hwq.numerics.scale_predictor import ScalePredictorSpec
from hwq.numerics.unit import Field
from hwq.numerics.units import UNITS

_RANGE_BITS = 32
_SCALE = tuple(
    Field(f"{name}{part}", 16, signed)
    for name in ("", "reciprocal_")
    for part, signed in (("mantissa", False), ("exponent", True))
)
"""A factor and its reciprocal, in pieces that a buffer of 16-bit elements takes."""


def emit_range_extract(emitter: Emitter, node: Node) -> None:
    """Emit the ranges of a token stream, which are stored where those of all taps are."""
    spec, (name,) = node.attrs["unit"], node.inputs
    readers = [r for r in emitter.graph.nodes for source in r.inputs if source == node.name]
    inputs = [emitter.tensors.rows(name, emitter.graph.shape(name))]
    out = emitter.write(node, _RANGE_BITS, ("length",))
    if [reader.op for reader in readers] == ["concat"]:
        part = dict(emitter.parts(readers[0], _RANGE_BITS))[node.name]
        emitter.tensors.stored[node.name] = part
        out = emitter.tensors.out(part, node.output.shape, ("length",))
    emitter.append(node, inputs, (spec.tokens, spec.channels), out, unit_of_node(node))


def emit_scale_predictor(emitter: Emitter, node: Node) -> None:
    """Emit the prediction of all scales, with its parameters."""
    spec = node.attrs["unit"]
    name, values = f"{node.name}.parameters", predictor_words(spec)
    emitter.tensors.constants[name] = values.astype(np.int16)
    emitter.tensors.store(name, values.shape, 16, "int16", constant=True)
    inputs = (emitter.tensors.all(node.inputs[0]), emitter.tensors.stored[name])
    out = emitter.tensors.store_words(node.name, (spec.scales,), _SCALE)
    emitter.append(node, inputs, (1, values.size), out, unit_of_node(node))
    emitter.chain = set()


def emit_rescale(emitter: Emitter, node: Node, spec: Epilogue, scales: str) -> list[Operand]:
    """Emit the per-image multipliers and biases of one epilogue, some layers before it."""
    arrays, fields = spec.parameters(), UNITS["epilogue"].fields
    words = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    count, name, factor = prod(words), f"{node.name}.multipliers", spec.factor
    assert factor is not None
    shape = node.output.shape
    # a scale changes the bias, and no correction
    arrays["addend"] = spec.bias
    values = [np.broadcast_to(arrays[part.name], words).ravel() for part in fields]
    static = emitter.tensors.table(f"{node.name}.parameters", fields, values, words, shape)
    correction = np.broadcast_to(spec.correction, words).ravel()
    tables = [static] + [
        emitter.tensors.table(f"{node.name}.corrections", fields[:1], [correction], words, shape)
    ] * bool(correction.any())
    line = View.contiguous((count,))
    inputs = [replace(t, elements=count, view=line, along=("length",)) for t in tables]
    row = emitter.tensors.stored[scales]
    picked = row.view.slice(0, factor.index, factor.index + 1)
    inputs.insert(0, replace(row, elements=1, view=picked))
    out = emitter.tensors.store_words(name, words, fields)
    layer = VectorLayer(
        f"{node.name}.rescale",
        "rescale",
        1,
        count,
        tuple(inputs),
        replace(out, view=line, along=("length",)),
        spec=spec,
    )
    emitter.layers.insert(_before_vector_work(emitter, scales), layer)
    return [emitter.tensors.rows(name, shape)]


def _before_vector_work(emitter: Emitter, scales: str) -> int:
    """Return where a short layer is in nobody's way: before the last work on rows.

    Between two matrix products it would be all that hides the loading of the second one's weights.
    """
    first = next(i for i, layer in enumerate(emitter.layers) if layer.out.tensor == scales) + 1
    for place in range(len(emitter.layers) - 1, first - 1, -1):
        layer = emitter.layers[place]
        if isinstance(layer, VectorLayer) and not layer.fused and layer.op != "rescale":
            return place
    return first


def predictor_words(spec: ScalePredictorSpec) -> NDArray[np.int64]:
    """int64[n]: what the predictor takes one after another, 16 bits each.

    Of each feature the two halves of its offset, and its row of the projection; then of each scale
    its bias and its coefficients.
    """
    projection, offsets = np.array(spec.projection, np.int64), np.array(spec.offsets, np.int64)
    low = (offsets & 0xFFFF ^ 0x8000) - 0x8000
    scales = np.array(spec.coefficients, np.int64).reshape(spec.scales, -1)
    biases = np.array(spec.biases, np.int64)
    features = np.column_stack([low, offsets >> 16, projection])
    return np.concatenate([features.ravel(), np.column_stack([biases, scales]).ravel()])


def with_predictor_words(
    spec: ScalePredictorSpec, words: NDArray[np.integer]
) -> ScalePredictorSpec:
    """Return the same predictor with other `predictor_words`."""
    split = spec.features * (spec.columns + 2)
    features = words[:split].astype(np.int64).reshape(spec.features, -1)
    scales = words[split:].astype(np.int64).reshape(spec.scales, -1)
    offsets = (features[:, 0] & 0xFFFF) + (features[:, 1] << 16)
    coefficients = scales[:, 1:].reshape(spec.scales, spec.features, spec.degree)
    return ScalePredictorSpec.from_arrays(
        spec.range_extract,
        features[:, 2:],
        offsets,
        coefficients,
        scales[:, 0],
        spec.shift,
        spec.limit,
    )
