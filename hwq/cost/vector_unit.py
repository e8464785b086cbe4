"""Cycles of vector work, from the formulas of `hwq.arch.unit_timing`."""

from hwq.arch.unit_timing import UNIT_TIMING, UnitTiming, ceil_div
from hwq.compiler.program import VectorLayer

READ_CYCLES = 1
"""Before its units work, a layer reads its first word, and what streams behind a product its
parameters; `hwq.rtl.machine`."""
_BY_ROW = ("softmax", "layernorm")


def latency_cycles(layer: VectorLayer, lanes: int) -> int:
    """Cycles from the last element in to the last result out."""
    return _timing(layer, lanes)[0].latency_cycles


def busy_cycles(layer: VectorLayer, lanes: int) -> int:
    """Cycles from the first element in to the last result out.

    Row units take whole rows, and all but the two below a word of `lanes` elements at a time; a
    row ends with its last word, full or not. `range_extract` takes one value per cycle whatever the
    lanes. `scale_predictor` starts when the ranges are there, so of its gateware's latency the part
    of `range_extract` is not counted again.
    """
    timing, items = _timing(layer, lanes)
    return timing.busy_cycles(items)


def _timing(layer: VectorLayer, lanes: int) -> tuple[UnitTiming, int]:
    """Return the timing of the layer's unit, and how many items it gets."""
    unit = UNIT_TIMING[layer.unit]
    words = ceil_div(layer.length, lanes)
    if layer.unit in _BY_ROW:
        return unit(length=layer.length, lanes=lanes), layer.rows
    if layer.unit == "mean":
        return unit(count=layer.rows), words
    if layer.op == "range_extract":
        return unit(values=layer.elements), 1
    if layer.op == "scale_predictor":
        features = layer.length // layer.degree
        timing = unit(values=1, features=features, scales=layer.rows, degree=layer.degree)
        extract = UNIT_TIMING["range_extract"](values=1)
        return UnitTiming(timing.latency_cycles - extract.latency_cycles, 0), 1
    return unit(), layer.rows * words
