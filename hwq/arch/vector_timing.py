"""How long the units of an accelerator's vector unit take, from the timing that each states."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from hwq.arch.accelerator import VectorUnit
from hwq.numerics.unit import UnitTiming, Workload, ceil_div
from hwq.numerics.units import UNITS

_CODE_CYCLES: Final = UNITS["epilogue"].timing().latency_cycles
"""An epilogue gives uniform codes wherever it stands, so the encoder takes as long as it."""
ENCODER_CYCLES: Final[Mapping[str, int]] = {
    "uniform": _CODE_CYCLES,
    "twin_uniform": _CODE_CYCLES,
    "log2": _CODE_CYCLES + 4,
    "shift_log2": _CODE_CYCLES + 4,
    "shift_uniform_log2": _CODE_CYCLES + 4,
    "outlier_split": _CODE_CYCLES,
}
"""One encoder gives the codes of every quantizer, `hwq.rtl.encoder`: cycles from x to its code."""


@lru_cache(maxsize=4096)
def pass_timing(
    stem: str, rows: int, length: int, vector_unit: VectorUnit, results: int = 0
) -> tuple[UnitTiming, int]:
    """Return the timing of a unit on this machine, and how many items each of its pipes gets.

    Parameters
    ----------
    stem : str
        Of the unit.
    rows, length : int
        The work, as in `hwq.compiler.program.VectorLayer`.
    vector_unit : VectorUnit
    results : int
        Of the whole layer.
    """
    unit = UNITS[stem]
    settings = vector_unit.settings(stem)
    lanes = (settings.lanes if settings else None) or vector_unit.lanes
    timing, items = unit.items(unit.timing, Workload(rows, length, lanes, results))
    if stem in ENCODER_CYCLES:
        timing = replace(timing, latency_cycles=ENCODER_CYCLES[stem])
    if settings:
        changes = settings.model_dump(exclude_none=True, exclude={"unit", "lanes"})
        timing = replace(timing, **changes)
    return timing, ceil_div(items, vector_unit.pipes)
