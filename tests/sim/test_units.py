"""Every unit of the catalogue, with all its verified parameters, against its numerics twin."""

from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.rtl.catalog import UNITS
from hwq.sim.bank import build
from hwq.sim.cases import CASES, bank, job
from hwq.sim.patterns import PATTERNS
from hwq.sim.runner import Job, verify
from hwq.sim.tools import SimulatorMissing, find_simulator


@pytest.mark.parametrize(("stem", "label"), CASES, ids=[f"{s}-{c}" for s, c in CASES])
def test_unit_equals_numerics(
    stem: str, label: str, simulator: str, tmp_path: Path, seed: int
) -> None:
    case = job(stem, label)
    check(case, verify(bank(simulator, stem), case, tmp_path, seed))


@pytest.mark.parametrize("stem", UNITS)
def test_icarus_agrees_where_it_is_installed(stem: str, tmp_path: Path, seed: int) -> None:
    """On few vectors, of the parameters whose results take least time: Icarus is slow."""
    try:
        icarus = find_simulator("icarus")
    except SimulatorMissing as missing:
        pytest.skip(str(missing))
    verified = UNITS[stem].verified
    label = min(verified, key=lambda k: verified[k].interval_cycles + verified[k].inputs_per_result)
    case = job(stem, label, limit=200)
    check(case, verify(build(icarus, {case.name: case.unit}), case, tmp_path, seed))


def check(case: Job, measured: dict[str, int]) -> None:
    unit = case.unit
    outputs = len(case.inputs) // unit.inputs_per_result * unit.outputs_per_result
    assert measured["full_rate_outputs"] == measured["random_stalls_outputs"] == outputs
    assert measured["latency_cycles"] == unit.latency_cycles
    assert measured["interval_cycles"] == unit.interval_cycles
    assert all(f"{name}_cycles" in measured for name in PATTERNS)
