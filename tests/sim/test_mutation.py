"""The bench must fail on wrong Verilog: two off-by-one mutations, each in exactly one place."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.numerics.horner import HornerSpec
from hwq.numerics.log2 import Log2Spec
from hwq.rtl.emit import emit
from hwq.rtl.horner import Horner
from hwq.rtl.log2 import Log2
from hwq.sim.runner import BenchFailed, Build, build
from hwq.testing import exhaustive_or_corners

UNITS = {
    "log2": Log2(Log2Spec()),
    "horner": Horner(HornerSpec((-5003, 1201))),
}
MUTATIONS = {
    # the threshold ceil(sqrt(2) * 2**15) = 46341 becomes 46342: input 46341 is rounded down
    "log2": (">= 16'hb505;", ">= 16'hb506;"),
    # the half that rounds the product, 2**11, becomes 2**11 - 1: ties go down
    "horner": ("13'h0800)", "13'h07ff)"),
}


@pytest.fixture(scope="module")
def mutants(simulator: str) -> Build:
    """Compile both units, mutated, as one bank."""
    texts = {}
    for name, (right, wrong) in MUTATIONS.items():
        text = emit(UNITS[name], name)
        assert text.count(right) == 1
        texts[name] = text.replace(right, wrong)
    return build(simulator, UNITS, texts)


def test_the_log2_bench_sees_a_threshold_off_by_one(
    mutants: Build, tmp_path: Path, seed: int
) -> None:
    first = r"output 46341 of 65536 differs: input 46341, got 1, want 0"
    with pytest.raises(BenchFailed, match=first):
        mutants.run("log2", UNITS["log2"], np.arange(65536), tmp_path, seed)


def test_the_horner_bench_sees_a_rounding_off_by_one(
    mutants: Build, tmp_path: Path, seed: int
) -> None:
    first = r"output \d+ of 65536 differs: input \d+, got \d+, want \d+"
    with pytest.raises(BenchFailed, match=first):
        mutants.run("horner", UNITS["horner"], exhaustive_or_corners(16, True), tmp_path, seed)
