import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.requantize import Requantize
from hwq.testing import run_stream

CASES = TWINS["requantize"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 300), UNITS["requantize"].timing())


def test_ties_go_up() -> None:
    unit = Requantize(RequantizeSpec(1, 2, 0, 8, signed=True), acc_bits=8)
    acc = np.array([-10, -6, -2, 2, 6, 10])
    assert_array_equal(run_stream(unit, acc).outputs, [-2, -1, 0, 1, 2, 3])


@pytest.mark.parametrize("shift", [1, 2, 15, 31, 47, 61, 62])
def test_every_shift_keeps_the_rounding_bit(shift: int) -> None:
    unit = Requantize(RequantizeSpec(65535, shift, 0, 31, signed=True), acc_bits=46)
    ends = np.array([-(1 << 45), 1 - (1 << 45), -1, 0, 1, (1 << 45) - 1])
    near = np.array([(k << shift >> 1) // 65535 for k in (-3, -1, 1, 3)])
    acc = np.concatenate([ends, near, near + 1, near - 1])
    acc = acc[(acc >= -(1 << 45)) & (acc < 1 << 45)]
    assert_array_equal(run_stream(unit, acc).outputs, unit.compute(acc))


def test_the_accumulator_has_at_most_46_bits() -> None:
    with pytest.raises(SpecError, match=r"acc_bits must be in 2\.\.46, not 47"):
        Requantize(RequantizeSpec(1, 1), acc_bits=47)
