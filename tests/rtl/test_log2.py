import numpy as np
import pytest

from hwq.arch.unit_timing import UNIT_TIMING
from hwq.numerics.log2 import Log2Spec
from hwq.rtl.catalog import UNITS
from hwq.rtl.log2 import Log2
from hwq.testing import exhaustive_or_corners

SPECS = UNITS["log2"].verified.values()


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_rtl_equals_numerics(spec: Log2Spec, check, random_payloads) -> None:
    unit = Log2(spec)
    shape = unit.i.payload.shape()
    corners = exhaustive_or_corners(shape.width, shape.signed, limit=300)
    inputs = np.concatenate([corners, random_payloads(unit, 300)])
    check(unit, inputs, UNIT_TIMING["log2"]())
