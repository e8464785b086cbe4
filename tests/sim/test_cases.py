"""The vectors of the catalogue's cases: whole results, enough of them, and every end sent."""

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.rtl.catalog import TWINS
from hwq.rtl.payload import width
from hwq.sim.cases import job
from hwq.sim.runner import check_coverage

ENOUGH = 100_000
CASES = [(stem, label) for stem, unit in TWINS.items() for label in unit.verified]
IDS = [f"{stem}-{label}" for stem, label in CASES]


@pytest.mark.parametrize(("stem", "label"), CASES, ids=IDS)
def test_an_own_stimulus_is_of_as_many_results_as_were_asked_for(stem: str, label: str) -> None:
    unit = TWINS[stem].verified[label]
    for results in (1, 7):
        own = unit.stimulus(np.random.default_rng(0), results)
        assert own is None or len(own) == results * unit.inputs_per_result


@pytest.mark.parametrize(("stem", "label"), CASES, ids=IDS)
def test_a_case_sends_whole_results_enough_of_them_and_every_end(stem: str, label: str) -> None:
    case = job(stem, label)
    unit, sent = case.unit, len(case.inputs)
    results, rest = divmod(sent, unit.inputs_per_result)
    assert rest == 0
    # units of whole rows are counted in elements
    elements = results * getattr(unit, "length", unit.inputs_per_result)
    bits = width(unit.i.payload.shape())
    everything = bits <= 16 and np.unique(case.inputs, axis=0).shape[0] == 1 << bits
    assert elements >= ENOUGH or everything
    check_coverage(unit, case.inputs)


@pytest.mark.parametrize(("stem", "label"), CASES, ids=IDS)
def test_a_case_is_constant_only_if_the_catalogue_says_why(stem: str, label: str) -> None:
    case = job(stem, label)
    outputs = case.unit.compute(case.inputs)
    constant = len(np.unique(outputs, axis=0)) == 1
    assert constant == (label in TWINS[stem].constant) == bool(case.constant)
