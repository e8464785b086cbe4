"""Every unit, by stem: a unit is its file in `hwq.numerics`, its twin in `hwq.rtl`, a line here."""

from collections.abc import Mapping
from typing import Any, Final

from hwq.errors import SpecError
from hwq.numerics import (
    activation,
    add,
    epilogue,
    exp2,
    horner,
    isqrt,
    layer_norm,
    log2,
    mean,
    move,
    mul,
    outlier_join,
    outlier_list,
    outlier_split,
    range_extract,
    requantize,
    rescale,
    scale_predictor,
    shift_log2,
    shift_uniform_log2,
    softmax,
    twin_uniform,
    uniform,
)
from hwq.numerics.unit import Unit

UNITS: Final[Mapping[str, Unit]] = {
    unit.stem: unit
    for unit in (
        epilogue.UNIT,
        uniform.UNIT,
        twin_uniform.UNIT,
        shift_log2.UNIT,
        shift_uniform_log2.UNIT,
        outlier_split.UNIT,
        outlier_list.UNIT,
        outlier_join.UNIT,
        rescale.UNIT,
        activation.UNIT,
        softmax.UNIT,
        layer_norm.UNIT,
        add.UNIT,
        mul.UNIT,
        mean.UNIT,
        move.UNIT,
        range_extract.UNIT,
        scale_predictor.UNIT,
        requantize.UNIT,
        log2.UNIT,
        horner.UNIT,
        exp2.UNIT,
        isqrt.UNIT,
    )
}
"""Every unit by its stem; an op is done by the first that does it, unless a layer names one."""

VECTOR_OPS: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(op for unit in UNITS.values() for op in unit.ops)
)
"""Every op that a layer of the vector unit may have."""


def unit_of_op(op: str) -> Unit:
    """Return the unit that does layers `op` by default; an unknown op raises `SpecError`."""
    for unit in UNITS.values():
        if op in unit.ops:
            return unit
    raise SpecError(f"op must be one of {', '.join(VECTOR_OPS)}, not {op!r}")


def unit_of_spec(spec: Any) -> Unit:
    """Return the unit that computes `spec`; what no unit computes raises `SpecError`."""
    for unit in UNITS.values():
        if unit.spec is not None and isinstance(spec, unit.spec):
            return unit
    raise SpecError(
        f"{type(spec).__name__} belongs to no unit: it needs a line in hwq.numerics.units"
    )
