import numpy as np
import pytest

from hwq.arch.unit_timing import UNIT_TIMING
from hwq.numerics.horner import HornerSpec
from hwq.rtl.catalog import UNITS
from hwq.rtl.horner import Horner
from hwq.testing import exhaustive_or_corners

SPECS = UNITS["horner"].verified.values()


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_rtl_equals_numerics(spec: HornerSpec, check, random_payloads) -> None:
    unit = Horner(spec)
    shape = unit.i.payload.shape()
    corners = exhaustive_or_corners(shape.width, shape.signed, limit=300)
    inputs = np.concatenate([corners, random_payloads(unit, 300)])
    check(unit, inputs, UNIT_TIMING["horner"](spec.degree))
