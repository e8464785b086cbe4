import numpy as np
import pytest

from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.epilogue import Epilogue

CASES = TWINS["epilogue"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 500), UNITS["epilogue"].timing())


def test_stimulus_of_a_wide_range_holds_the_zero_point(payloads, check) -> None:
    unit = Epilogue(EpilogueSpec(-(1 << 17), (1 << 17) - 1))
    check(unit, payloads(unit, 500), UNITS["epilogue"].timing())


@pytest.mark.parametrize("label", CASES)
def test_stimulus_reaches_both_ends_and_much_between(label: str, payloads) -> None:
    unit = CASES[label]
    inputs = payloads(unit, 2000)
    codes = unit.compute(inputs)
    assert {unit.spec.lo, unit.spec.hi} <= set(codes.tolist())
    assert np.mean((codes > unit.spec.lo) & (codes < unit.spec.hi)) > 0.1
    assert set(inputs[:, -2].tolist()) == set(range(1, 63))
