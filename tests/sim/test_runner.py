"""What the benches say when something is wrong, and what they leave behind."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.numerics.log2 import Log2Spec
from hwq.rtl.catalog import TWINS
from hwq.rtl.log2 import Log2
from hwq.sim.bank import build
from hwq.sim.cases import job
from hwq.sim.mutation import MUTATIONS, run_mutations
from hwq.sim.patterns import PATTERNS, Cost, results
from hwq.sim.runner import BenchFailed, Job, check_coverage, check_outputs, verify
from hwq.sim.tools import tool_environment


class OneOff(Log2):
    """Wants another code for one input."""

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(inputs == 46341, 1, super().compute(inputs))


@pytest.mark.slow
def test_a_failure_names_seed_and_values_and_leaves_waves(simulator: str, tmp_path: Path) -> None:
    unit = OneOff(Log2Spec())
    bank = build(simulator, {"one_off": unit})
    with pytest.raises(BenchFailed) as failed:
        verify(bank, Job("one_off", unit, np.arange(46300, 46400), coverage=False), tmp_path, 7)
    message = str(failed.value)
    first = "one_off: full_rate, seed 7: output 41 of 100 differs: input 46341, got 0, want 1; "
    assert message.startswith(first)
    waves = re.search(r"waves: (\S+)$", message)
    assert waves is not None, message
    assert Path(waves[1]).suffix in {".fst", ".vcd"} and Path(waves[1]).stat().st_size > 0


@pytest.mark.slow
def test_faults_are_named_by_the_rule_they_break(simulator: str, seed: int) -> None:
    """The bank is the one of tests/sim/test_mutation.py."""
    messages = {row["fault"]: row["message"] for row in run_mutations("log2", simulator, seed)}
    assert "output 46341 of 65536 differs" in messages["threshold off by one"]
    assert "o.valid dropped before its transfer" in messages["valid dropped while waiting"]
    assert "after_reset" in messages["valid not reset"]
    assert len(messages) == len(MUTATIONS["log2"])


@pytest.mark.usefixtures("simulator")
def test_a_kept_build_finds_the_libraries_of_this_environment() -> None:
    before = dict(os.environ)
    with tool_environment():
        folder = Path(os.environ["LD_LIBRARY_PATH"].split(os.pathsep)[0])
        assert list(folder.glob("libcocotbvpi_verilator.*"))
    assert dict(os.environ) == before


def test_every_corner_must_be_sent() -> None:
    unit = TWINS["log2"].default
    everything = np.arange(65536)
    check_coverage(unit, everything)
    with pytest.raises(BenchFailed, match=r"field 0 was never sent \[32768\]"):
        check_coverage(unit, everything[everything != 32768])


def test_a_unit_with_a_stimulus_of_its_own_must_be_sent_the_ends_of_what_is_legal() -> None:
    tokens = np.array([-32768, 0, -1, 32767])
    check_coverage(TWINS["range_extract"].default, tokens)
    with pytest.raises(BenchFailed, match=r"field 0 was never sent \[32767\]"):
        check_coverage(TWINS["range_extract"].default, tokens[:3])
    rescale = TWINS["rescale"].default
    ends = np.array(rescale.legal_inputs).T
    assert ends[:, 1].tolist() == [1, 62]
    operands = np.concatenate([ends, np.maximum(ends[:1], 0), np.maximum(ends[:1], -1)])
    check_coverage(rescale, operands)
    with pytest.raises(BenchFailed, match=r"field 1 was never sent \[62\]"):
        check_coverage(rescale, np.where(operands == 62, 61, operands))


@pytest.mark.parametrize(
    ("distinct", "constant", "message"),
    [(1, "", "every output is the same"), (2, "of a reason", "differ, although of a reason")],
)
def test_outputs_must_differ_unless_the_job_says_why(
    distinct: int, constant: str, message: str
) -> None:
    case = Job("log2", TWINS["log2"].default, np.zeros(4, np.int64), constant=constant)
    with pytest.raises(BenchFailed, match=f"^log2: .*{message}"):
        check_outputs(case, distinct)
    check_outputs(case, 3 - distinct)


def test_benches_fit_their_budget() -> None:
    cost = Cost(latency=30, interval=50, inputs=10, outputs=5)
    for pattern in PATTERNS.values():
        count = results(pattern, cost, 100_000, 40_000)
        assert count == 100_000 or 4 <= count <= 40_000 // pattern.cycles(cost)
        assert len(pattern.stalls(cost).numbers()) == 9


def test_a_job_is_cut_to_whole_results() -> None:
    cut = job("range_extract", "channels5", 100)
    assert len(cut.inputs) == 4 * cut.unit.inputs_per_result and not cut.coverage
    assert len(job("log2", "narrow", 100).inputs) == 100
    assert job("log2", "narrow").coverage
