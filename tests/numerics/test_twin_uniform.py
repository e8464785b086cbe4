import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import dyadic
from hwq.numerics.twin_uniform import TwinUniformSpec

SPECS = [
    TwinUniformSpec(1 << 15, 19, 4, 8, "softmax"),
    TwinUniformSpec(1 << 15, 20, 5, 4, "softmax"),
    TwinUniformSpec(*dyadic(2.0**-16 / 0.0007), 3, 6, "softmax"),
    TwinUniformSpec(1 << 15, 15, 0, 5, "softmax"),
    TwinUniformSpec(*dyadic(2.0**-12 / 0.0243), 4, 4, "gelu"),
    TwinUniformSpec(*dyadic(2.0**-12 / 0.0014), 5, 8, "gelu"),
    TwinUniformSpec(65535, 20, 0, 3, "gelu"),
]


def value(codes: np.ndarray, spec: TwinUniformSpec) -> np.ndarray:
    """Return what the codes stand for, in units of the fine scale."""
    wide = codes.astype(np.int64)
    flag, magnitude = wide >> (spec.bits - 1), wide & spec.top
    fine = -magnitude if spec.form == "gelu" else magnitude
    return np.where(flag == 1, magnitude << spec.m, fine)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_equals_reference_on_every_16_bit_input(spec: TwinUniformSpec) -> None:
    for x in (np.arange(1 << 16), np.arange(-(1 << 15), 1 << 15, dtype=np.int16)):
        codes, saturated = spec.compute(x)
        expected, expected_saturated = spec.reference(x)
        assert_array_equal(codes, expected)
        assert codes.dtype == np.uint8
        assert saturated == expected_saturated


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_values_never_fall_and_stay_within_half_a_step(spec: TwinUniformSpec) -> None:
    x = np.arange(-(1 << 15) if spec.form == "gelu" else 0, 1 << 16)
    got = value(spec.compute(x)[0], spec)
    assert np.all(np.diff(got) >= 0)
    v = x * spec.mult * 2.0**-spec.shift
    fine = (v <= spec.top) if spec.form == "softmax" else (v < 0) & (v >= -spec.top)
    coarse = (v >= 0) & (v <= spec.top << spec.m) & ~fine
    assert np.abs(got - v)[fine].max(initial=0) <= 0.5
    if spec.m < spec.bits:  # a wider gap between the ranges is not within half a coarse step
        assert np.abs(got - v)[coarse].max(initial=0) <= 0.5 * (1 << spec.m)


def test_ranges_of_softmax_codes() -> None:
    spec = TwinUniformSpec(1 << 15, 15, 2, 4, "softmax")  # fine step 1, coarse step 4
    codes, saturated = spec.compute(np.array([0, 1, 7, 8, 9, 10, 28, 30, 31, -1]))
    assert codes.tolist() == [0, 1, 7, 8 + 2, 8 + 2, 8 + 3, 8 + 7, 8 + 7, 8 + 7, 0]
    assert saturated == 3


def test_a_gap_between_the_ranges_saturates_the_fine_one() -> None:
    spec = TwinUniformSpec(1 << 15, 15, 5, 4, "softmax")  # fine 0..7, coarse 32, 64, ..
    codes, saturated = spec.compute(np.array([7, 8, 15, 16, 32]))
    assert codes.tolist() == [7, 7, 7, 8 + 1, 8 + 1]
    assert saturated == 2


def test_the_flag_of_gelu_codes_is_the_sign() -> None:
    spec = TwinUniformSpec(1 << 15, 16, 2, 4, "gelu")  # fine step 2, coarse step 8
    codes, saturated = spec.compute(np.array([0, 3, 4, 12, 59, 60, 62, -1, -2, -3, -14, -15, -17]))
    assert codes.tolist() == [8, 8, 9, 10, 15, 15, 15, 0, 1, 1, 7, 7, 7]
    assert saturated == 3


def test_a_number_is_rounded_once() -> None:
    spec = TwinUniformSpec(1 << 15, 16, 2, 4, "softmax")  # 19 / 8 = 2.375; 19 / 2 -> 10 -> 2.5
    assert spec.compute(np.array([19]))[0].tolist() == [8 + 2]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mult", -1, "mult must be in 0..65535, not -1"),
        ("bits", 9, "bits must be in 2..8, not 9"),
        ("bits", 1, "bits must be in 2..8, not 1"),
        ("m", 9, "m must keep 127 << m within 2\\*\\*15, not 9"),
        ("m", -1, "m must keep 127 << m within 2\\*\\*15, not -1"),
        ("shift", 62, "shift must be in 1..61, not 62"),
        ("form", "relu", "form must be one of softmax, gelu, not 'relu'"),
    ],
)
def test_errors_name_the_field(field: str, value: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TwinUniformSpec(**{"mult": 1, "shift": 1, "m": 1, field: value})
