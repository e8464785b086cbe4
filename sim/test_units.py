"""Every unit of the catalogue, with all its verified parameters, against its numerics twin."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from runner import Build, build

from hwq.rtl.catalog import UNITS
from hwq.rtl.pipeline import StreamUnit
from hwq.testing import exhaustive_or_corners

CASES = [(stem, label) for stem, unit in UNITS.items() for label in unit.verified]
LARGE = "scale_predictor"
PREDICTIONS = 100_000
"""Random vectors through the scale predictor, for each degree."""


def make(stem: str, label: str) -> StreamUnit:
    """Return the gateware of a case."""
    return UNITS[stem].component(UNITS[stem].verified[label])


@cache
def bank_build(simulator: str, large: bool) -> Build:
    """Compile the cases of LARGE, or all others, as a bank: each unit slows its bank down."""
    cases = [(stem, label) for stem, label in CASES if (stem == LARGE) == large]
    return build(simulator, {f"{stem}_{label}": make(stem, label) for stem, label in cases})


def every_feature() -> NDArray[np.int64]:
    """int64[65536*4]: token streams (2 tokens, 2 channels) with every first range, shuffled."""
    tokens = np.full((65536, 2, 2), -32768, np.int64)
    tokens[:, 1, 0] += np.random.default_rng(0).permutation(65536)
    return tokens.reshape(-1)


def stimulus(stem: str, label: str, unit: StreamUnit) -> NDArray[np.int64]:
    """int64[n]: all payloads of a unit without state; whole streams of random tokens else."""
    if label.startswith("feature_"):
        return every_feature()
    if unit.inputs_per_result == 1:
        shape = unit.i.payload.shape()
        return exhaustive_or_corners(shape.width, shape.signed)
    polynomials = stem == "scale_predictor" and label.startswith("degree")
    results = PREDICTIONS if polynomials else 500
    rng = np.random.default_rng(0)
    # streams of every spread, so that features reach from end to end
    spread = rng.integers(1, 32769, (results, 1))
    tokens = rng.integers(-spread, spread, (results, unit.inputs_per_result))
    return tokens.reshape(-1)


@pytest.mark.parametrize(("stem", "label"), CASES, ids=[f"{s}-{c}" for s, c in CASES])
def test_unit_equals_numerics(
    stem: str, label: str, simulator: str, tmp_path: Path, seed: int
) -> None:
    unit = make(stem, label)
    inputs = stimulus(stem, label, unit)
    built = bank_build(simulator, stem == LARGE)
    measured = built.run(f"{stem}_{label}", unit, inputs, tmp_path, seed)
    assert measured["outputs"] == inputs.size // unit.inputs_per_result * unit.outputs_per_result
    assert measured["latency_cycles"] == unit.latency_cycles
    assert measured["interval_cycles"] == unit.interval_cycles
