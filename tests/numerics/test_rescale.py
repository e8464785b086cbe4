from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.rescale import RescaleSpec, rescale_bias, rescale_mult
from hwq.testing import exhaustive_or_corners

NO_FACTOR = (1 << 15, 0)


def factor(correction):
    """Mantissa and exponent of 2**(correction / 4096)."""
    parts = Exp2Spec(in_bits=16, frac=12).compute(np.array([correction], np.int16))
    return tuple(int(part[0]) for part in parts)


def operands(count=2000, seed=0, bias_bits=36):
    """Rows that stay in range whatever the exponents."""
    rng = np.random.default_rng(seed)
    half = 1 << (bias_bits - 1)
    columns = [(0, 1 << 16), (9, 55), (0, 1 << 16), (-8, 8)]
    columns += [(-half, half), (0, 1 << 16), (-8, 8)]
    return np.stack([rng.integers(*ends, count) for ends in columns], axis=-1)


def test_rescaled_multiplier_loses_at_most_one_bit():
    mult = exhaustive_or_corners(15, signed=False)[::7] + (1 << 15)
    shift = np.full(mult.shape, 25)
    for correction in (-3072, -5, 0, 1, 2047, 3072):
        mantissa, exponent = factor(correction)
        assert 1 << 15 <= mantissa < 1 << 16
        new_mult, new_shift = rescale_mult(mult, shift, mantissa, exponent)
        assert new_mult.min() >= 1 << 14 and new_mult.max() < 1 << 16
        for old, new, right in zip(
            mult.tolist(), new_mult.tolist(), new_shift.tolist(), strict=True
        ):
            exact = Fraction(old, 1 << 25) * mantissa * Fraction(2) ** (exponent - 15)
            assert abs(Fraction(new, 1) / Fraction(2) ** right / exact - 1) <= Fraction(1, 1 << 15)


def test_rescaled_bias_is_rounded_half_up():
    bias = np.array([0, 1, -1, 12345, -12345, 1 << 45, -(1 << 45)])
    for mantissa, exponent in ((1 << 15, 0), (40000, 0), (40000, -1), (65535, 0)):
        factor = Fraction(mantissa) * Fraction(2) ** (exponent - 15)
        wanted = [int((value * factor + Fraction(1, 2)).__floor__()) for value in bias.tolist()]
        assert_array_equal(rescale_bias(bias, mantissa, exponent), wanted)


def test_kernel_equals_reference():
    spec = RescaleSpec()
    assert_array_equal(spec.compute(operands()), spec.reference(operands()))


def test_no_factor_keeps_multipliers_and_biases():
    rows = operands()
    rows[:, 2:4] = rows[:, 5:] = NO_FACTOR
    got = RescaleSpec().compute(rows)
    assert_array_equal(got[:, 2], rows[:, 4])
    # one bit less of mult, one less of shift: the same value, rounded
    assert_array_equal(got[:, 0], (rows[:, 0] + 1) >> 1)
    assert_array_equal(got[:, 1], rows[:, 1] - 1)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 1 << 16, r"mult must be in 0\.\.65535, not 65536"),
        (1, 0, r"shift must be in 1\.\.62, not 0"),
        (1, 1, r"shift must be in 1\.\.62, not -1"),
        (2, -1, r"mantissa must be in 0\.\.65535, not -1"),
        (3, 8, r"exponent must be in -8\.\.7, not 8"),
        (4, 1 << 15, r"bias must be in -32768\.\.32767, not 32768"),
        (4, (1 << 15) - 1, r"bias must be in -32768\.\.32767, not 65534"),
        (6, -9, r"bias_exponent must be in -8\.\.7, not -9"),
    ],
)
def test_what_leaves_its_range_is_an_error(column, value, message):
    row = np.array([[40000, 20, 1 << 15, 1, 100, 1 << 15, 1]])
    spec = RescaleSpec(bias_bits=16)
    spec.compute(row)
    row[0, column] = value
    for compute in (spec.compute, spec.reference):
        with pytest.raises(SpecError, match=message):
            compute(row)


def test_spec_and_shape_say_what_is_wrong():
    with pytest.raises(SpecError, match=r"bias_bits must be in 2\.\.46, not 47"):
        RescaleSpec(47)
    with pytest.raises(SpecError, match=r"operands must be \[n, 7\], not \[2, 5\]"):
        RescaleSpec().compute(np.ones((2, 5), np.int64))
