from math import erfc, sqrt

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.gelu import SEGMENTS, TABLE, GeluSpec

GOLDEN_SEGMENTS = [
    [-6508, 65522, 1],
    [-6307, 52480, 59020],
    [-2362, -6340, 175056],
    [0, -2, 3],
    [0, 0, 0],
]
GOLDEN_SUMS = [-32772, 32631, 2091758]
GOLDEN_SQUARES = [208100112, 11972497581, 271660609294]


def all_inputs(spec, step=1):
    return np.arange(spec.minimum, spec.maximum + 1, step)


def gelu_float(x):
    return np.array([v * erfc(-v / sqrt(2)) / 2 for v in x.tolist()])


@pytest.mark.parametrize("in_frac", range(8, 13))
def test_kernel_equals_reference_on_every_16_bit_input(in_frac):
    spec = GeluSpec(in_frac)
    x = all_inputs(spec).astype(np.int16)
    assert_array_equal(spec.compute(x), spec.reference(x))


@pytest.mark.parametrize("in_frac", [8, 12])
def test_kernel_equals_reference_at_20_bits(in_frac):
    spec = GeluSpec(in_frac, in_bits=20)
    x = np.concatenate([all_inputs(spec, step=101), [spec.maximum], np.arange(-30000, 30000, 7)])
    assert_array_equal(spec.compute(x), spec.reference(x))


@pytest.mark.parametrize("in_frac", range(8, 13))
def test_error_against_float64_on_every_16_bit_input(in_frac):
    spec = GeluSpec(in_frac)
    x = all_inputs(spec)
    error = spec.compute(x) / 4096 - gelu_float(x / 2.0**in_frac)
    assert np.abs(error).max() <= 0.54 * 2.0**-12


def test_error_against_float64_on_every_20_bit_input_of_12_fraction_bits():
    spec = GeluSpec(12, in_bits=20)
    x = all_inputs(spec)
    x = x[np.abs(x) < 1 << 17]  # beyond 32 the exact value is x, or zero, to 100 bits
    assert np.abs(spec.compute(x) / 4096 - gelu_float(x / 4096)).max() <= 0.54 * 2.0**-12


def test_tails_are_exact_and_do_not_saturate():
    spec = GeluSpec(8, in_bits=20)
    x = np.array([spec.maximum, 5 << 8, -(5 << 8), spec.minimum, 0])
    assert_array_equal(spec.compute(x), [spec.maximum << 4, 5 << 12, 0, 0, 0])


def test_difference_of_both_signs_is_x():
    spec = GeluSpec(12)
    x = np.arange(1, 1 << 15)
    assert_array_equal(spec.compute(x) - spec.compute(-x), x)


def test_table_is_the_one_that_the_gateware_copies():
    assert TABLE.shape == (3, SEGMENTS + 1)
    assert_array_equal(TABLE[:, [0, 1, 7, 39, 40]].T, GOLDEN_SEGMENTS)
    assert_array_equal(TABLE.astype(np.int64).sum(axis=1), GOLDEN_SUMS)
    assert_array_equal((TABLE.astype(np.int64) ** 2).sum(axis=1), GOLDEN_SQUARES)


def test_keeps_the_shape():
    assert GeluSpec().compute(np.zeros((2, 0, 3), np.int16)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"in_frac": 7}, "in_frac must be in 8..12, not 7"),
        ({"in_frac": 13}, "in_frac must be in 8..12, not 13"),
        ({"in_bits": 1}, "in_bits must be in 2..20, not 1"),
        ({"in_bits": 21}, "in_bits must be in 2..20, not 21"),
    ],
)
def test_rejects_bad_fields(fields, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        GeluSpec(**fields)


@pytest.mark.parametrize("evaluate", [GeluSpec.compute, GeluSpec.reference])
def test_rejects_inputs_wider_than_the_unit(evaluate):
    with pytest.raises(SpecError, match=r"^x must be in -32768..32767, not 0..32768$"):
        evaluate(GeluSpec(), np.array([0, 32768]))
    with pytest.raises(SpecError, match=r"^x must be in -512..511, not -600..0$"):
        evaluate(GeluSpec(in_bits=10), np.array([0, -600], np.int16))
