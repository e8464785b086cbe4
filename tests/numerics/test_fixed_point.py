from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import FixedPoint, dyadic, dyadic_array, smallest_dtype


@pytest.mark.parametrize(
    ("lo", "hi", "dtype"),
    [
        (0, 255, np.uint8),
        (0, 256, np.uint16),
        (-1, 127, np.int8),
        (-128, 128, np.int16),
        (-(1 << 15), 0, np.int16),
        (0, 1 << 16, np.uint32),
        (-1, 1 << 31, np.int64),
        (0, 1 << 32, np.int64),
    ],
)
def test_smallest_dtype(lo: int, hi: int, dtype: type) -> None:
    assert smallest_dtype(lo, hi) == dtype


def test_range_and_lsb() -> None:
    signed = FixedPoint(16, 13)
    assert (signed.min, signed.max, signed.lsb, signed.dtype) == (-32768, 32767, 2**-13, np.int16)
    unsigned = FixedPoint(16, -2, signed=False)
    assert (unsigned.min, unsigned.max, unsigned.lsb) == (0, 65535, 4.0)
    assert unsigned.dtype == np.uint16


@pytest.mark.parametrize("form", [FixedPoint(8, 3), FixedPoint(8, 9, False), FixedPoint(12, -3)])
def test_every_code_survives_the_round_trip(form: FixedPoint) -> None:
    codes = np.arange(form.min, form.max + 1)
    back = form.from_float(form.to_float(codes))
    assert_array_equal(back, codes)
    assert back.dtype == form.dtype


def test_from_float_rounds_ties_up_and_saturates() -> None:
    form = FixedPoint(8, 1)
    x = [0.25, -0.25, 0.24, 63.4, 64.0, -64.0, -64.3, np.inf, -np.inf]
    assert form.from_float(x).tolist() == [1, 0, 0, 127, 127, -128, -128, 127, -128]
    assert FixedPoint(62, 0).from_float([1e300, -1e300]).tolist() == [(1 << 61) - 1, -(1 << 61)]
    assert FixedPoint(62, 0, False).from_float([1e300]).tolist() == [(1 << 62) - 1]
    with pytest.raises(SpecError, match="a number is needed, not nan"):
        form.from_float([np.nan])


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("signed", [True, False])
def test_covering_has_the_most_fraction_bits_that_hold(bits: int, signed: bool) -> None:
    for max_abs in [1.0, 0.999, 0.17, 3.99, 4.0, 1000.3, 65536.0, 1e-5, 2**-20]:
        form = FixedPoint.covering(max_abs, bits, signed=signed)
        assert form.max * Fraction(form.lsb) >= Fraction(max_abs)
        assert form.frac == 31 or form.max * Fraction(form.lsb) / 2 < Fraction(max_abs)
    assert FixedPoint.covering(0.0, bits, max_frac=9, signed=signed).frac == 9


def test_covering_at_the_edge_of_a_format() -> None:
    assert FixedPoint.covering(32767 / 32768, 16).frac == 15
    assert FixedPoint.covering(32767.5 / 32768, 16).frac == 14


def test_dyadic_examples() -> None:
    assert dyadic(1.0) == (1 << 15, 15)
    assert dyadic(0.0) == (0, 1)
    assert dyadic(1 - 2**-20) == (1 << 15, 15)  # rounds up to the next power of two
    assert dyadic(2.0**14) == (1 << 15, 1)
    assert dyadic(2.0**-47) == (1 << 15, 62)
    assert dyadic(2.0**-50) == (1 << 12, 62)
    assert dyadic(2.0**-80) == (0, 62)
    assert dyadic(0.75, bits=2) == (3, 2)


@pytest.mark.parametrize("bits", [8, 16, 31])
def test_dyadic_is_the_nearest_mantissa(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = np.exp2(rng.uniform(-30, bits - 2, 500))
    mult, shift = dyadic_array(values, bits)
    assert mult.dtype == shift.dtype == np.int64
    for value, m, s in zip(values.tolist(), mult.tolist(), shift.tolist(), strict=True):
        assert 1 << (bits - 1) <= m < 1 << bits
        assert 1 <= s <= 62
        error = abs(m - Fraction(value) * 2**s)
        # half a unit, or the quarter that is left after renormalising
        assert error <= Fraction(1, 2)
        assert dyadic(value, bits) == (m, s)


def test_dyadic_keeps_the_shape() -> None:
    mult, shift = dyadic_array(np.full((2, 3), 0.5))
    assert mult.shape == shift.shape == (2, 3)


def test_a_product_with_a_lost_multiplier_rounds_to_zero_either_way() -> None:
    mult, shift = dyadic(2.0**-47.001)
    acc = (1 << 46) - 1
    assert (acc * mult + (1 << (shift - 1))) >> shift == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FixedPoint(0, 0), "bits must be in 1..62, not 0"),
        (lambda: FixedPoint(8, 63), "frac must be in -62..62, not 63"),
        (lambda: FixedPoint.covering(float("inf")), "max_abs must be finite, not inf"),
        (lambda: smallest_dtype(1, 0), "lo must not exceed hi, not 1..0"),
        (lambda: smallest_dtype(0, 1 << 63), "a range must fit in int64"),
        (lambda: dyadic(-0.5), "a multiplier must be finite and not negative, not -0.5"),
        (lambda: dyadic(float("nan")), "a multiplier must be finite and not negative, not nan"),
        (lambda: dyadic(2.0**15), "a multiplier must be below 32768.0, not 32768.0"),
        (lambda: dyadic(32767.9), "a multiplier must be below 32768.0, not 32767.9"),
        (lambda: dyadic(0.5, bits=1), "bits must be in 2..31, not 1"),
    ],
)
def test_errors_name_the_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()
