"""All routes of small machines on seeded data: values of the integer units, cycles of formulas."""

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.sim.component import build_components
from hwq.sim.machine import run_programs
from hwq.sim.machine_cases import M, difference, program, small_machine, wanted


@pytest.mark.parametrize("lanes", [1, 3])
def test_every_route_equals_the_units_in_the_time_of_their_formulas(
    lanes, simulator, machine_cycles, tmp_path, seed
):
    machine = small_machine(lanes)
    bank = build_components(simulator, {"machine": machine})
    made = program(machine)
    (outcome,) = run_programs(bank, {"machine": made}, tmp_path, seed, runs=2)
    assert difference(made, outcome, machine_cycles(lanes)) is None
    assert all(len(np.unique(want)) > M for want in wanted(machine))
