import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.softmax import SoftmaxSpec
from hwq.numerics.unit import UnitTiming
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.softmax import Softmax
from hwq.testing import run_stream

CASES = TWINS["softmax"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    inputs = payloads(unit, 20 if unit.lanes == 16 else 60)
    check(unit, inputs, UNITS["softmax"].timing(unit.length, unit.lanes))


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 7, 11])
def test_cycles_are_the_formulas_at_every_shape(length: int, lanes: int) -> None:
    unit = Softmax(SoftmaxSpec(3), length, lanes, in_bits=6)
    inputs = unit.stimulus(np.random.default_rng(0), 12)
    run = run_stream(unit, inputs)
    assert_array_equal(run.outputs, unit.compute(inputs))
    measured = UnitTiming(run.latency_cycles(unit), run.interval_cycles(unit))
    assert measured == UNITS["softmax"].timing(length, lanes)


def test_unused_lanes_are_ignored_and_leave_as_zero() -> None:
    unit = Softmax(SoftmaxSpec(4), 3, 2)
    words = np.array([[5, 5], [5, 32767], [-9, -9], [-9, -32768]])
    outputs = run_stream(unit, words).outputs
    third = round(2**16 / 3)
    assert_array_equal(outputs, 2 * [[third, third], [third, 0]])


def test_longest_row_of_equal_scores_fits_its_sum() -> None:
    unit = Softmax(SoftmaxSpec(1), 4096, 1, in_bits=2)
    assert unit.total.o.payload.shape().width == 43
    words = np.full(4096, 1)
    assert_array_equal(run_stream(unit, words).outputs, np.full(4096, 16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length must be in 1..4096, not 0"),
        ({"lanes": 0}, "lanes must be at least 1, not 0"),
        ({"in_bits": 33}, "in_bits must be in 2..32, not 33"),
    ],
)
def test_rejects(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Softmax(SoftmaxSpec(4), **{"length": 5, "lanes": 2, **arguments})
