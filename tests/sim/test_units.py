"""Every unit of the catalogue, with all its verified parameters, against its numerics twin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.rtl.catalog import TWINS
from hwq.rtl.pipeline import StreamUnit
from hwq.sim.bank import build
from hwq.sim.cases import job, verify_unit
from hwq.sim.patterns import PATTERNS
from hwq.sim.runner import verify
from hwq.sim.tools import SimulatorMissing, find_simulator


@pytest.mark.parametrize("stem", TWINS)
def test_unit_equals_numerics(stem: str, simulator: str, seed: int) -> None:
    rows = verify_unit(stem, simulator, seed)
    assert [row["message"] for row in rows if not row["ok"]] == []
    assert [row["case"] for row in rows] == list(TWINS[stem].verified)
    for row in rows:
        check(TWINS[stem].verified[row["case"]], row)


@pytest.mark.parametrize("stem", TWINS)
def test_icarus_agrees_where_it_is_installed(stem: str, tmp_path: Path, seed: int) -> None:
    """On few vectors, of the parameters whose results take least time: Icarus is slow."""
    try:
        icarus = find_simulator("icarus")
    except SimulatorMissing as missing:
        pytest.skip(str(missing))
    verified = TWINS[stem].verified
    label = min(verified, key=lambda k: verified[k].interval_cycles + verified[k].inputs_per_result)
    case = job(stem, label, limit=200)
    check(case.unit, verify(build(icarus, {case.name: case.unit}), case, tmp_path, seed))


def check(unit: StreamUnit, measured: Mapping[str, Any]) -> None:
    outputs = measured["vectors"] // unit.inputs_per_result * unit.outputs_per_result
    assert measured["full_rate_outputs"] == measured["random_stalls_outputs"] == outputs
    assert measured["latency_cycles"] == unit.latency_cycles
    assert measured["interval_cycles"] == unit.interval_cycles
    assert all(f"{name}_cycles" in measured for name in PATTERNS)
