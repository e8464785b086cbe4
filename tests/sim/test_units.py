"""Every unit of the catalogue, with all its verified parameters, against its numerics twin."""

from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.rtl.catalog import UNITS
from hwq.sim.bank import Bank, build
from hwq.sim.patterns import PATTERNS
from hwq.sim.runner import Job, verify
from hwq.testing import stimulus

CASES = [(stem, label) for stem, unit in UNITS.items() for label in unit.verified]


@cache
def bank_of(simulator: str, stem: str) -> Bank:
    """Compile all cases of a unit as one bank."""
    return build(simulator, {f"{stem}_{label}": u for label, u in UNITS[stem].verified.items()})


@pytest.mark.parametrize(("stem", "label"), CASES, ids=[f"{s}-{c}" for s, c in CASES])
def test_unit_equals_numerics(
    stem: str, label: str, simulator: str, tmp_path: Path, seed: int
) -> None:
    unit = UNITS[stem].verified[label]
    own = UNITS[stem].stimuli.get(label)
    inputs = own() if own else stimulus(unit)
    job = Job(f"{stem}_{label}", unit, inputs)
    measured = verify(bank_of(simulator, stem), job, tmp_path, seed)
    outputs = len(inputs) // unit.inputs_per_result * unit.outputs_per_result
    assert measured["full_rate_outputs"] == measured["random_stalls_outputs"] == outputs
    assert measured["latency_cycles"] == unit.latency_cycles
    assert measured["interval_cycles"] == unit.interval_cycles
    assert all(f"{name}_cycles" in measured for name in PATTERNS)
