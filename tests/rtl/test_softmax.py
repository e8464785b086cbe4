import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.softmax import SoftmaxSpec
from hwq.numerics.unit import UnitTiming
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.rows import row_words, to_words
from hwq.rtl.softmax import Softmax, SoftmaxCore
from hwq.testing import every, never, random_stall, run_stream

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


@pytest.mark.parametrize("frac", [1, 6, 14])
@pytest.mark.parametrize(
    "stalls", [(never(), never()), (random_stall(0, 0.4), every(3))], ids=("flowing", "stalled")
)
def test_the_core_takes_rows_of_any_length_and_format(frac: int, stalls) -> None:
    """One netlist: rows of 1 to 11 scores, mixed, under each format in turn."""
    rng = np.random.default_rng(frac)
    core, spec = SoftmaxCore(11, 4, in_bits=10), SoftmaxSpec(frac)
    words, wanted = [], []
    for length in (*range(1, 12), *rng.integers(1, 12, 30).tolist()):
        row = rng.integers(-512, 512, (1, length)) >> rng.integers(0, 9)
        words.append(row_words(row, 4, rng.integers(-512, 512, (1, 4))))
        unused = np.zeros((1, 4), np.int64)
        wanted.append(to_words(spec.compute(row.astype(np.int32)).astype(np.int64), 4, unused))
    run = run_stream(core, np.concatenate(words), *stalls, settings=core.settings_of(spec))
    assert_array_equal(run.outputs, np.concatenate(wanted))


def test_unused_lanes_are_ignored_and_leave_as_zero() -> None:
    unit = Softmax(SoftmaxSpec(4), 3, 2)
    words = np.array([[5, 5], [5, 32767], [-9, -9], [-9, -32768]])
    outputs = run_stream(unit, words).outputs
    third = round(2**16 / 3)
    assert_array_equal(outputs, 2 * [[third, third], [third, 0]])


def test_longest_row_of_equal_scores_fits_its_sum() -> None:
    unit = Softmax(SoftmaxSpec(1), 4096, 1, in_bits=2)
    assert unit.core.total.o.payload.shape().width == 43
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
