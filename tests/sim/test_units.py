"""Every unit of the catalogue, with all its verified parameters, against its numerics twin."""

from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.rtl.catalog import UNITS
from hwq.sim.runner import Build, build
from hwq.testing import stimulus

CASES = [(stem, label) for stem, unit in UNITS.items() for label in unit.verified]
LARGE = "scale_predictor"


@cache
def bank_build(simulator: str, large: bool) -> Build:
    """Compile the cases of LARGE, or all others, as a bank: each unit slows its bank down."""
    cases = [(stem, label) for stem, label in CASES if (stem == LARGE) == large]
    return build(simulator, {f"{s}_{label}": UNITS[s].verified[label] for s, label in cases})


@pytest.mark.parametrize(("stem", "label"), CASES, ids=[f"{s}-{c}" for s, c in CASES])
def test_unit_equals_numerics(
    stem: str, label: str, simulator: str, tmp_path: Path, seed: int
) -> None:
    unit = UNITS[stem].verified[label]
    own = UNITS[stem].stimuli.get(label)
    inputs = own() if own else stimulus(unit)
    built = bank_build(simulator, stem == LARGE)
    measured = built.run(f"{stem}_{label}", unit, inputs, tmp_path, seed)
    assert measured["outputs"] == len(inputs) // unit.inputs_per_result * unit.outputs_per_result
    assert measured["latency_cycles"] == unit.latency_cycles
    assert measured["interval_cycles"] == unit.interval_cycles
