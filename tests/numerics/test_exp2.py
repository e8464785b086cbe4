import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.exp2 import COEFFICIENTS, Exp2Spec

SPECS = [
    Exp2Spec(),
    Exp2Spec(frac=8),
    Exp2Spec(frac=14),
    Exp2Spec(in_bits=8, frac=1),
    Exp2Spec(mantissa_bits=8),
    Exp2Spec(mantissa_bits=2),
]


def all_inputs(spec):
    return np.arange(spec.minimum, spec.maximum + 1)


def relative_error(spec):
    x = all_inputs(spec)
    mantissa, exponent = spec.compute(x)
    value = np.ldexp(mantissa.astype(np.float64), exponent.astype(int) - (spec.mantissa_bits - 1))
    return np.abs(value / np.exp2(x / 2.0**spec.frac) - 1).max()


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_equals_reference_on_every_input(spec):
    x = all_inputs(spec)
    for fast, slow in zip(spec.compute(x), spec.reference(x), strict=True):
        assert fast.dtype == slow.dtype
        assert_array_equal(fast, slow)


@pytest.mark.parametrize("frac", range(8, 15))
def test_relative_error_against_float64(frac):
    assert relative_error(Exp2Spec(frac=frac)) <= 2.0**-15


@pytest.mark.parametrize("mantissa_bits", range(2, 17))
def test_narrow_mantissas_lose_at_most_their_last_bit(mantissa_bits):
    assert relative_error(Exp2Spec(mantissa_bits=mantissa_bits)) <= 2.0 ** (1 - mantissa_bits)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_mantissa_is_normalised_and_value_is_monotone(spec):
    mantissa, exponent = spec.compute(all_inputs(spec))
    half = 1 << (spec.mantissa_bits - 1)
    assert mantissa.min() == half
    assert mantissa.max() < 2 * half
    value = np.ldexp(mantissa.astype(np.float64), exponent)
    assert np.diff(value).min() >= 0


def test_integral_powers_are_exact():
    mantissa, exponent = Exp2Spec().compute(np.arange(-8, 8) << 12)
    assert_array_equal(mantissa, np.full(16, 1 << 15))
    assert_array_equal(exponent, np.arange(-8, 8))


def test_accumulator_width_suffices_at_every_step():
    fraction = np.arange(1 << 14)
    acc = np.full(fraction.shape, COEFFICIENTS[0])
    for c in COEFFICIENTS[1:]:
        assert (acc * fraction).max() + (1 << 13) < 1 << 32
        acc = ((acc * fraction + (1 << 13)) >> 14) + c
    assert acc.max() < 1 << 18


def test_keeps_the_shape():
    mantissa, exponent = Exp2Spec().compute(np.zeros((2, 0), np.int16))
    assert mantissa.shape == exponent.shape == (2, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frac": 0}, "frac must be in 1..14, not 0"),
        ({"frac": 15}, "frac must be in 1..14, not 15"),
        ({"in_bits": 12}, "in_bits must be in 13..20, not 12"),
        ({"in_bits": 21}, "in_bits must be in 13..20, not 21"),
        ({"mantissa_bits": 17}, "mantissa_bits must be in 2..16, not 17"),
    ],
)
def test_rejects_bad_fields(fields, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        Exp2Spec(**fields)


@pytest.mark.parametrize("evaluate", [Exp2Spec.compute, Exp2Spec.reference])
def test_rejects_inputs_wider_than_the_unit(evaluate):
    with pytest.raises(SpecError, match=r"^x must be in -32768..32767, not 0..32768$"):
        evaluate(Exp2Spec(), np.array([0, 32768]))
