import pytest

from hwq.numerics.rescale import RescaleSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.rescale import Rescale

CASES = TWINS["rescale"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 500), UNITS["rescale"].timing())


@pytest.mark.parametrize("bits", [2, 3, 9, 10])
def test_stimulus_of_a_narrow_bias_is_legal(bits: int, check, payloads) -> None:
    unit = Rescale(RescaleSpec(bits))
    check(unit, payloads(unit, 500), UNITS["rescale"].timing())


@pytest.mark.parametrize("label", CASES)
def test_stimulus_reaches_the_ends_of_every_result(label: str, payloads) -> None:
    unit = CASES[label]
    inputs = payloads(unit, 5000)
    mult, shift, bias = unit.compute(inputs).T
    assert {0, 1, 32768, 65534} <= set(mult.tolist())
    assert set(shift.tolist()) == set(range(1, 63))
    assert set(inputs[:, 6].tolist()) == set(range(-8, 8))
    bits = unit.spec.bias_bits
    assert bias.max() >= 1 << (bits - 2) and bias.min() < -(1 << (bits - 2))
