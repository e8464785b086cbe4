import pytest

from hwq.arch.unit_timing import UNIT_TIMING
from hwq.rtl.catalog import UNITS

CASES = UNITS["mul"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 400), UNIT_TIMING["mul"]())
