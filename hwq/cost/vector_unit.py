"""Cycles of vector work, from the formulas of `hwq.arch.unit_timing`."""

from hwq.arch.unit_timing import UNIT_TIMING, ceil_div
from hwq.compiler.program import VectorLayer

_BY_ROW = ("softmax", "layernorm")


def busy_cycles(layer: VectorLayer, lanes: int) -> int:
    """Cycles from the first element in to the last result out.

    Row units take whole rows, and all but the two below a word of `lanes` elements at a time; a
    row ends with its last word, full or not. `range_extract` takes one value per cycle whatever the lanes. `scale_predictor` starts
    when the ranges are there, so of its gateware's latency the part of `range_extract` is not
    counted again.
    """
    unit = UNIT_TIMING[layer.op]
    if layer.op in _BY_ROW:
        return unit(length=layer.length, lanes=lanes).busy_cycles(layer.rows)
    if layer.op == "range_extract":
        return unit(values=layer.elements).busy_cycles(1)
    if layer.op == "scale_predictor":
        features = layer.length // layer.degree
        timing = unit(values=1, features=features, scales=layer.rows, degree=layer.degree)
        return timing.latency_cycles - UNIT_TIMING["range_extract"](values=1).latency_cycles
    return unit().busy_cycles(layer.rows * ceil_div(layer.length, lanes))
