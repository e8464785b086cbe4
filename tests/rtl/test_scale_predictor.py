import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.scale_predictor import ScalePredictorSpec
from hwq.numerics.unit import UnitTiming
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.catalog.prediction import example_predictor
from hwq.rtl.scale_predictor import ScalePredictor
from hwq.testing import run_stream

CASES = TWINS["scale_predictor"].verified


def timing(spec: ScalePredictorSpec) -> UnitTiming:
    values = spec.columns * spec.range_extract.tokens
    return UNITS["scale_predictor"].timing(values, spec.features, spec.scales, spec.degree)


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 12), timing(unit.spec))


@pytest.mark.parametrize(
    ("features", "scales", "degree"), [(1, 1, 3), (1, 4, 1), (2, 3, 2), (5, 1, 1), (8, 3, 3)]
)
def test_cycles_follow_the_formula(features: int, scales: int, degree: int, payloads) -> None:
    spec = example_predictor(2, 2, 2, features, scales, degree)
    unit = ScalePredictor(spec)
    run = run_stream(unit, payloads(unit, 10))
    want = timing(spec)
    assert run.latency_cycles(unit) == unit.latency_cycles == want.latency_cycles
    assert run.interval_cycles(unit) == unit.interval_cycles == want.interval_cycles


def test_beats_are_scale_then_reciprocal() -> None:
    unit = CASES["degree2"]
    tokens = np.array([[5, -7], [3000, 900]], np.int16)
    prediction = unit.spec.compute(tokens)
    beats = unit.compute(tokens.reshape(-1).astype(np.int64))
    assert_array_equal(beats[0::2, 0], prediction.mantissa)
    assert_array_equal(beats[1::2, 0], prediction.reciprocal_mantissa)
    assert_array_equal(beats[0::2, 1], prediction.exponent)
    assert_array_equal(beats[1::2, 1], prediction.reciprocal_exponent)
