import numpy as np
import pytest

from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS

CASES = TWINS["mean"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 12), UNITS["mean"].timing(unit.spec.count))


@pytest.mark.parametrize("label", CASES)
def test_stimulus_reaches_both_ends_and_much_between(label: str, payloads) -> None:
    unit = CASES[label]
    means = unit.compute(payloads(unit, 1500))
    assert np.unique(means).size > 50
    out = unit.spec.out
    assert out.signed is False or {out.min, out.max} <= set(means.tolist())
