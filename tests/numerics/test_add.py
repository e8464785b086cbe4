import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.add import AddSpec
from hwq.numerics.fixed_point import FixedPoint


@pytest.mark.parametrize("form", [FixedPoint(16, 12), FixedPoint(8, 3, False), FixedPoint(31, 0)])
def test_kernel_equals_reference(form):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(form.min, form.max, (40, 9), endpoint=True) for _ in range(2))
    a[:4], b[:2], b[2:4] = form.max, form.max, form.min
    got, saturated = AddSpec(form).compute(a.astype(form.dtype), b.astype(form.dtype))
    wanted, clamped = AddSpec(form).reference(a, b)
    assert_array_equal(got, wanted)
    assert saturated == clamped > 0
    assert got.dtype == form.dtype


def test_sums_saturate_at_both_ends():
    a, b = np.array([32767, -32768, 5], np.int16), np.array([1, -1, -6], np.int16)
    codes, saturated = AddSpec(FixedPoint(16, 0)).compute(a, b)
    assert codes.tolist() == [32767, -32768, -1]
    assert saturated == 2


def test_format_has_at_most_31_bits():
    with pytest.raises(SpecError, match="out must have at most 31 bits, not 32"):
        AddSpec(FixedPoint(32, 0))
