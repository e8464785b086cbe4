from fractions import Fraction
from math import floor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.rounding import half_up_float, half_up_shift


@pytest.mark.parametrize("shift", [0, 1, 2, 7, 15])
def test_shift_is_nearest_with_ties_up_on_every_16_bit_value(shift: int) -> None:
    v = np.arange(-(1 << 15), 1 << 15, dtype=np.int64)
    exact = [floor(Fraction(n, 1 << shift) + Fraction(1, 2)) for n in v.tolist()]
    assert_array_equal(half_up_shift(v, shift), exact)


def test_shift_per_element() -> None:
    v = np.array([5, -5, 5, -5, 1 << 61])
    shift = np.array([1, 1, 0, 2, 62])
    assert half_up_shift(v, shift).tolist() == [3, -2, 5, -1, 1]


def test_python_ints_are_exact_beyond_64_bits() -> None:
    assert half_up_shift((1 << 200) + (1 << 99), 100) == (1 << 100) + 1
    assert half_up_shift((1 << 200) + (1 << 99) - 1, 100) == 1 << 100


def test_float_rounding_sees_the_exact_half() -> None:
    below = np.nextafter(0.5, 0.0)
    x = np.array([0.5, -0.5, below, -below, 1.5, -1.5, 2.0**52 + 1, -1e-300, np.inf, -np.inf])
    expected = [1.0, 0.0, 0.0, 0.0, 2.0, -1.0, 2.0**52 + 1, 0.0, np.inf, -np.inf]
    assert_array_equal(half_up_float(x), expected)
    random = np.random.default_rng(0).normal(0, 100, 2000)
    exact = [floor(Fraction(v) + Fraction(1, 2)) for v in random.tolist()]
    assert_array_equal(half_up_float(random), exact)
