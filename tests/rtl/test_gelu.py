import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.arch.unit_timing import UNIT_TIMING
from hwq.numerics.gelu import SEGMENT_BITS, TABLE, GeluSpec
from hwq.numerics.rounding import half_up_shift
from hwq.rtl.catalog import UNITS
from hwq.rtl.gelu import ACC, C0, C1, C2, Gelu
from hwq.testing import run_stream

CASES = UNITS["gelu"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 500), UNIT_TIMING["gelu"]())


@pytest.mark.parametrize("spec", [GeluSpec(8, 2), GeluSpec(12, 3), GeluSpec(8, 20)], ids=str)
def test_ends_of_every_format(spec: GeluSpec) -> None:
    unit = Gelu(spec)
    ends = np.array([spec.minimum, spec.minimum + 1, -1, 0, 1, spec.maximum - 1, spec.maximum])
    assert_array_equal(run_stream(unit, ends).outputs, unit.compute(ends))


def test_every_accumulator_fits() -> None:
    c2, c1, c0 = TABLE.astype(np.int64)
    u = np.arange(1 << SEGMENT_BITS)[:, None]
    first = half_up_shift(c2 * u, SEGMENT_BITS) + c1
    second = half_up_shift(first * u, SEGMENT_BITS) + c0
    shapes = ((c2, C2), (c1, C1), (c0, C0), (first, ACC), (second, ACC))
    for values, shape in shapes:
        limit = 1 << (shape.width - 1)
        assert -limit <= values.min() and values.max() < limit
    assert (min(first.min(), second.min()), max(first.max(), second.max())) == (-16931, 178235)
