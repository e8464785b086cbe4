"""Cycles of vector work, from the timing that every unit states."""

from hwq.compiler.program import VectorLayer
from hwq.numerics.unit import UnitTiming, Workload
from hwq.numerics.units import UNITS

READ_CYCLES = 1
"""Before its units work, a layer reads its first word, and what streams behind a product its
parameters; `hwq.rtl.machine`."""


def latency_cycles(layer: VectorLayer, lanes: int) -> int:
    """Cycles from the last element in to the last result out."""
    return _timing(layer, lanes)[0].latency_cycles


def busy_cycles(layer: VectorLayer, lanes: int) -> int:
    """Cycles from the first element in to the last result out."""
    timing, items = _timing(layer, lanes)
    return timing.busy_cycles(items)


def _timing(layer: VectorLayer, lanes: int) -> tuple[UnitTiming, int]:
    """Return the timing of the layer's unit, and how many items it gets."""
    unit = UNITS[layer.unit]
    return unit.items(unit.timing, Workload(layer.rows, layer.length, lanes, layer.degree))
