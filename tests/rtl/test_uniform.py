import pytest

from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS

CASES = TWINS["uniform"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 300), UNITS["uniform"].timing())
