"""What each unit does with one tile: by its reference, or step by step what spans several tiles."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.emit_scales import with_predictor_words
from hwq.compiler.program import VectorLayer
from hwq.errors import require
from hwq.numerics.outlier_list import ENTRY, outlier_list_reference
from hwq.numerics.range_extract import range_extract_reference
from hwq.numerics.rescale import rescale_bias, rescale_mult
from hwq.numerics.scale_predictor import scale_predictor_reference
from hwq.plan.commands import Apply

Int = NDArray[np.int64]
Words = Mapping[str, Int]
State = dict[str, Any]
"""Layer -> what its unit keeps from tile to tile."""


def elementwise(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Int:
    """Let a unit work on a tile of rows, with the parameters that came with it."""
    spec = layer.spec
    data = [operand for operand in operands if not isinstance(operand, Mapping)]
    for words in (operand for operand in operands if isinstance(operand, Mapping)):
        spec = spec.with_parameters(words)
    result = spec.reference(*data)
    values: Int = result[0] if isinstance(result, tuple) else result
    return values


def _mean(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Int:
    means: Int = layer.spec.reference(np.ascontiguousarray(operands[0].T))[0]
    return means


def _concat(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Int:
    values: Int = operands[0]
    return values


def _outlier_split(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Words:
    """List the outliers of a whole tensor."""
    spec = layer.spec
    for words in operands[1:]:
        spec = spec.with_parameters(words)
    side, room = spec.outliers_reference(operands[0]), layer.out.elements
    count = int(np.count_nonzero(side))
    require(count <= room, f"{layer.name}: the list must hold {count} outliers, not {room}")
    entries = outlier_list_reference(side, room)
    return {part.name: column for part, column in zip(ENTRY, entries.T, strict=True)}


def _outlier_join(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Int:
    """Add outlier times weight to the sums of a token, and multiply them by its factor."""
    sums, entries, weight, factors = operands
    joined: Int = sums.astype(np.int64)
    first, rows = command.origin[0], command.size[0]
    for value, token, channel in zip(*entries.values(), strict=True):
        if value and first <= token < first + rows:
            joined[token - first] += value * weight[channel].astype(np.int64)
    result: Int = joined * factors["row_mult"]
    return result


def _rescale(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Any:
    """Multiply an epilogue's words by the factor of the image."""
    words, factor, corrections = operands[1], layer.spec.factor, operands[2:]
    scale, reciprocal = np.array([int(part[0]) for part in operands[0].values()]).reshape(2, 2)
    is_scale = factor.kind == "scale"
    mult, shift = rescale_mult(
        words["mult"], words["shift"], *(scale if is_scale else reciprocal).tolist()
    )
    addend = words["addend"]
    if is_scale:
        addend = rescale_bias(addend, *reciprocal.tolist())
    for correction in corrections:
        addend = addend + correction["addend"]
    return {"addend": addend, "mult": mult, "shift": shift, "zero_point": words["zero_point"]}


def _range_extract(state: State, command: Apply, layer: VectorLayer, operands: list[Any]) -> Int:
    """All tokens of some channels."""
    spec = replace(layer.spec, channels=command.size[1])
    return range_extract_reference(operands[0], spec).astype(np.int64)


def _scale_predictor(
    state: State, command: Apply, layer: VectorLayer, operands: list[Any]
) -> Words:
    ranges, values = operands
    prediction = scale_predictor_reference(ranges, with_predictor_words(layer.spec, values))
    scales = np.stack([part.astype(np.int64) for part in prediction[1:]])
    return {part.name: row for part, row in zip(layer.out.fields, scales, strict=True)}


UNITS: Mapping[str, Callable[[State, Apply, VectorLayer, list[Any]], Any]] = {
    "mean": _mean,
    "concat": _concat,
    "outlier_split": _outlier_split,
    "outlier_join": _outlier_join,
    "rescale": _rescale,
    "range_extract": _range_extract,
    "scale_predictor": _scale_predictor,
}
