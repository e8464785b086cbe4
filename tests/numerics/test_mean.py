from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.mean import MeanSpec

OUT = FixedPoint(16, 6)


def operands(rows, count, seed=0, reach=1 << 15, dtype=np.int16):
    return np.random.default_rng(seed).integers(-reach, reach, (rows, count)).astype(dtype)


@pytest.mark.parametrize("count", [1, 2, 7, 64, 196, 1 << 14])
def test_kernel_equals_reference(count):
    spec = MeanSpec.from_float(1 / count, count, OUT)
    x = operands(17, count)
    x[0], x[1] = 32767, -32768
    (got, saturated), (wanted, clamped) = spec.compute(x), spec.reference(x)
    assert_array_equal(got, wanted)
    assert saturated == clamped == 0
    assert got.shape == (17, 1) and got.dtype == np.int16


def test_ties_go_up():
    spec = MeanSpec(2, 32768, 16, OUT)
    assert_array_equal(
        spec.compute(np.array([[1, 2], [-1, -2], [1, -2]], np.int16))[0].T, [[2, -1, 0]]
    )


@pytest.mark.parametrize("count", [16, 49, 196, 197, 4096])
def test_within_half_a_unit_and_the_multipliers_own_error(count):
    spec = MeanSpec.from_float(1 / count, count, OUT)
    x = operands(200, count, seed=count)
    got = spec.compute(x)[0][:, 0]
    for row, mean in zip(x, got, strict=True):
        exact = Fraction(int(row.sum(dtype=np.int64)), count)
        assert abs(int(mean) - exact) <= Fraction(1, 2) + abs(exact) / 2**16


def test_change_of_scale_is_one_rounding():
    """From 10 to 6 fraction bits: the factor is 2**-4 / count."""
    spec = MeanSpec.from_float(2.0**-4 / 8, 8, OUT)
    x = operands(300, 8, reach=1 << 12)
    wanted = np.floor(x.sum(1) / 128 + 0.5).astype(int)
    assert_array_equal(spec.compute(x)[0][:, 0], wanted)


def test_saturates_at_both_ends_and_counts():
    spec = MeanSpec.from_float(1 / 4, 4, FixedPoint(8, 0))
    x = np.array([[1000] * 4, [-1000] * 4, [127] * 4, [-128] * 4], np.int16)
    got, saturated = spec.compute(x)
    assert_array_equal(got[:, 0], [127, -128, 127, -128])
    assert saturated == 2
    assert spec.reference(x)[1] == 2


def test_wide_summands():
    spec = MeanSpec.from_float(1 / (1 << 14), 1 << 14, FixedPoint(32, 0))
    x = np.full((2, 1 << 14), [[2**31 - 1], [-(2**31)]], np.int32)
    assert_array_equal(spec.compute(x)[0], spec.reference(x)[0])
    assert_array_equal(spec.compute(x)[0][:, 0], [2**31 - 1, -(2**31)])


@pytest.mark.parametrize("count", [0, (1 << 14) + 1])
def test_rejects_bad_count(count):
    with pytest.raises(SpecError, match=rf"^count must be in 1\.\.16384, not {count}$"):
        MeanSpec(count, 1, 1, OUT)


@pytest.mark.parametrize("evaluate", [MeanSpec.compute, MeanSpec.reference])
def test_rejects_rows_of_another_length(evaluate):
    with pytest.raises(SpecError, match=r"^x must have 4 columns, not 5$"):
        evaluate(MeanSpec.from_float(0.25, 4, OUT), np.zeros((1, 5), np.int16))
