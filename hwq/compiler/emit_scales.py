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
from hwq.numerics.units import UNITS

# a scale is a 16-bit mantissa or an 8-bit exponent, in words of one width
_RANGE_BITS, _SCALE_BITS = 32, 24


def emit_range_extract(emitter: Emitter, node: Node) -> None:
    """Emit the ranges of a token stream, which may have other tokens before and behind."""
    spec, (name,) = node.attrs["unit"], node.inputs
    rows, columns = spec.tokens, spec.channels
    source = emitter.tensors.stored[name]
    out, unit = emitter.write(node, _RANGE_BITS, ("all",)), unit_of_node(node)
    skip, within = divmod(source.view.offset, columns)
    part = View(source.view.offset, View.contiguous((rows * columns,)).axes)
    streams = source.tensor in emitter.chain and emitter.chain_size[1] == columns
    if streams and within == 0 and source.view.reshape((rows * columns,)) == part:
        size = emitter.chain_size
        view = View.contiguous(size)
        whole = replace(source, elements=prod(size), view=view, along=("rows", "length"))
        emitter.layers.append(
            VectorLayer(node.name, node.op, *size, (whole,), out, True, 1, unit.stem, spec, skip)
        )
        emitter.chain |= {node.name}
        return
    inputs = [emitter.tensors.rows(name, emitter.graph.shape(name))]
    emitter.append(node, inputs, (rows, columns), out, unit)


def emit_scale_predictor(emitter: Emitter, node: Node) -> None:
    """Emit the prediction of all scales, with its coefficients."""
    spec = node.attrs["unit"]
    name, values = f"{node.name}.parameters", predictor_words(spec)
    emitter.tensors.constants[name] = values.astype(np.int16)
    emitter.tensors.store(name, values.shape, 16, "int16", constant=True)
    inputs = (emitter.tensors.all(node.inputs[0]), emitter.tensors.stored[name])
    out = emitter.write(node, _SCALE_BITS, ("all",))
    rows, length = spec.scales, spec.features * spec.degree
    emitter.layers.append(
        VectorLayer(node.name, node.op, rows, length, inputs, out, degree=spec.degree, spec=spec)
    )
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
    picked = row.view.slice(0, factor.index, factor.index + 1).reshape((4,))
    inputs.insert(0, replace(row, elements=4, view=picked, along=("all",)))
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
    """int64[n]: projection, coefficients and biases one after another, as they are stored."""
    tables = (spec.projection, spec.coefficients, spec.biases)
    return np.concatenate([np.array(table, np.int64).ravel() for table in tables])


def with_predictor_words(
    spec: ScalePredictorSpec, words: NDArray[np.integer]
) -> ScalePredictorSpec:
    """Return the same predictor with other `predictor_words`."""
    left, tables = words.astype(np.int64), []
    for table in (spec.projection, spec.coefficients, spec.biases):
        shape = np.shape(table)
        tables.append(left[: prod(shape)].reshape(shape))
        left = left[prod(shape) :]
    projection, coefficients, biases = tables
    offsets = np.array(spec.offsets, np.int64)
    return ScalePredictorSpec.from_arrays(
        spec.range_extract, projection, offsets, coefficients, biases, spec.shift, spec.limit
    )
