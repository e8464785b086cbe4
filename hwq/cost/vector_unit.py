"""Cycles of vector work, from the timing that every unit states."""

from dataclasses import replace

from hwq.arch.accelerator import VectorUnit
from hwq.compiler.program import VectorLayer
from hwq.numerics.unit import UnitTiming, Workload, ceil_div
from hwq.numerics.units import UNITS

READ_CYCLES = 1
"""Before its units work, a layer reads its first word, and what streams behind a product its
parameters; `hwq.rtl.machine`."""


def latency_cycles(layer: VectorLayer, vector_unit: VectorUnit) -> int:
    """Cycles from the last element in to the last result out."""
    return _timing(layer, vector_unit)[0].latency_cycles


def busy_cycles(layer: VectorLayer, vector_unit: VectorUnit) -> int:
    """Cycles from the first element in to the last result out."""
    timing, items = _timing(layer, vector_unit)
    return timing.busy_cycles(ceil_div(items, vector_unit.pipes))


def _timing(layer: VectorLayer, vector_unit: VectorUnit) -> tuple[UnitTiming, int]:
    """Return the timing of the layer's unit on this machine, and how many items it gets."""
    unit = UNITS[layer.unit]
    settings = vector_unit.settings(unit.stem)
    lanes = (settings.lanes if settings else None) or vector_unit.lanes
    load = Workload(layer.rows, layer.length, lanes, layer.degree)
    timing, items = unit.items(unit.timing, load)
    if settings:
        changes = settings.model_dump(exclude_none=True, exclude={"unit", "lanes"})
        timing = replace(timing, **changes)
    return timing, items
