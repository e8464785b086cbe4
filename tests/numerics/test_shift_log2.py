from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import dyadic
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.shift_log2 import ShiftLog2Spec

SPECS = [
    ShiftLog2Spec(0, 1 << 15, 15, bits=4, steps_per_octave=1),
    ShiftLog2Spec(0, 1 << 15, 15, bits=3, steps_per_octave=2, offset=3),
    ShiftLog2Spec(697, *dyadic(2.0 ** (16 - 12) / 6.17), bits=4),
    ShiftLog2Spec(1393, *dyadic(2.0 ** (16 - 13) / 3.0), bits=8),
    ShiftLog2Spec(-20, *dyadic(3.3), bits=4, steps_per_octave=1),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_equals_reference_on_every_16_bit_input(spec: ShiftLog2Spec) -> None:
    x = np.arange(-(1 << 15), 1 << 15, dtype=np.int32)
    expected, expected_saturated = spec.reference(x)
    for dtype in (np.int16, np.int32, np.int64):
        codes, saturated = spec.compute(x.astype(dtype))
        assert_array_equal(codes, expected)
        assert codes.dtype == np.uint8
        assert saturated == expected_saturated > 0


def test_the_largest_shift_of_a_16_bit_input_does_not_overflow() -> None:
    for add in ((1 << 30) - 1, 1 - (1 << 30)):
        spec = ShiftLog2Spec(add, 1 << 15, 29, bits=8)
        x = np.array([0, 1, 65535], np.uint16)
        assert_array_equal(spec.compute(x)[0], spec.reference(x)[0])


def test_codes_are_the_nearest_of_the_shifted_value() -> None:
    scale, frac, add = 6.17, 12, 697
    spec = ShiftLog2Spec(add, *dyadic(2.0 ** (16 - frac) / scale), bits=4)
    x = np.arange(-add, 7000)
    exact = -2 * np.log2((x[1:] + add) * 2.0**-frac / scale)
    code = spec.compute(x)[0].astype(np.int64)
    assert code[0] == 15
    near_tie = np.abs(exact - np.floor(exact) - 0.5) < 0.02  # the fraction has 16 bits
    expected = np.where(np.round(exact) > 14, 15, np.round(exact))
    assert_array_equal(code[1:][~near_tie], expected[~near_tie])
    assert np.count_nonzero(near_tie) < 0.1 * x.size


def test_identity_of_a_softmax_probability() -> None:
    x = np.arange(1 << 16, dtype=np.uint16)
    codes, saturated = SPECS[0].compute(x)
    assert_array_equal(codes, Log2Spec().compute(x))
    assert saturated == 0


def test_both_ends_are_clamped_and_counted() -> None:
    spec = ShiftLog2Spec(4, 1 << 15, 10, bits=4)  # fraction = (x + 4) * 2**5
    codes, saturated = spec.compute(np.array([-6, -5, -4, 2043, 2044, 5000]))
    assert codes.tolist() == [15, 15, 15, 0, 0, 0]
    assert saturated == 4
    assert Fraction(2043 + 4, 2048) < 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("shift_add", 1 << 30, "shift_add must be within 31 bits, not 1073741824"),
        ("mult", 1 << 16, "mult must be in 0..65535, not 65536"),
        ("shift", 0, "shift must be in 1..62, not 0"),
        ("bits", 9, "bits must be in 2..8, not 9"),
        ("steps_per_octave", 3, "steps_per_octave must be 1 or 2, not 3"),
        ("offset", -1, "offset must be in 0..30, not -1"),
    ],
)
def test_errors_name_the_field(field: str, value: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ShiftLog2Spec(**{"shift_add": 0, "mult": 1, "shift": 1, field: value})
