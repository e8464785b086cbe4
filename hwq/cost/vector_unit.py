"""Cycles of vector work, from the formulas of `hwq.arch.unit_timing`."""

from hwq.arch.unit_timing import UNIT_TIMING, ceil_div
from hwq.compiler.program import VectorLayer

_BY_ROW = ("softmax", "layernorm")


def busy_cycles(layer: VectorLayer, lanes: int) -> int:
    """Cycles from the first element in to the last result out.

    Row units take whole rows; `range_extract` takes one chunk per row; `scale_predictor` takes the
    ranges of its first input and then `rows` polynomials of `length` coefficients; all others take
    `lanes` elements at a time, regardless of rows.
    """
    unit = UNIT_TIMING[layer.op]
    if layer.op in _BY_ROW:
        return unit(length=layer.length, lanes=lanes).busy_cycles(layer.rows)
    if layer.op == "range_extract":
        return unit(values=layer.length, lanes=lanes).busy_cycles(layer.rows)
    if layer.op == "scale_predictor":
        columns = layer.inputs[0].elements
        return unit(columns=columns, scales=layer.rows, coefficients=layer.length).busy_cycles(1)
    return unit().busy_cycles(ceil_div(layer.elements, lanes))
