import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.horner import HornerSpec

INT16 = np.arange(-(1 << 15), 1 << 15).astype(np.int16)
SPECS = [
    HornerSpec((4096, 0)),
    HornerSpec((-3000, 1234)),
    HornerSpec((500, -3000, 1234)),
    HornerSpec((-77, 500, -3000, 1234)),
    HornerSpec((32767, -32768, 32767, -32768, 1)),
    HornerSpec((32767, 32767, 32767), frac=1),
    HornerSpec((-32768, -32768, -32768), frac=15),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_equals_reference_on_every_16_bit_input(spec):
    assert_array_equal(spec.compute(INT16), spec.reference(INT16))


@settings(deadline=None)  # the first call compiles
@given(st.data(), st.integers(2, 32), st.integers(1, 3))
def test_kernel_equals_reference_at_every_width(data, bits, degree):
    numbers = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    coefficients = data.draw(st.lists(numbers, min_size=degree + 1, max_size=degree + 1))
    spec = HornerSpec(tuple(coefficients), bits, data.draw(st.integers(1, bits - 1)))
    x = np.array([*data.draw(st.lists(numbers, max_size=5)), spec.minimum, spec.maximum, 0, -1])
    assert_array_equal(spec.compute(x), spec.reference(x))


def test_identity_and_constant():
    assert_array_equal(HornerSpec((4096, 0)).compute(INT16), INT16)
    assert_array_equal(HornerSpec((0, -5)).compute(INT16), np.full(INT16.size, -5))


def test_ties_round_up():
    spec = HornerSpec((2048, 0), frac=12)
    assert_array_equal(spec.compute(np.array([-3, -1, 1, 3])), [-1, 0, 1, 2])


def test_saturates_at_both_ends():
    spec = HornerSpec((32767, 0))
    assert_array_equal(spec.compute(np.array([-32768, 32767], np.int16)), [-32768, 32767])


def test_error_against_float64_is_below_one_step_a_degree():
    spec = HornerSpec((300, -900, 2000, 55))
    x = np.arange(-4096, 4097)
    exact = np.polyval(np.array(spec.coefficients) / 4096, x / 4096) * 4096
    assert np.abs(spec.compute(x) - exact).max() <= 1.5


def test_keeps_the_shape_and_takes_the_smallest_dtype():
    x = np.zeros((2, 0, 3), np.int64)
    assert HornerSpec((1, 1)).compute(x).shape == (2, 0, 3)
    assert [HornerSpec((1, 1), bits, 1).dtype for bits in (8, 9, 16, 17, 32)] == [
        np.int8,
        np.int16,
        np.int16,
        np.int32,
        np.int32,
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 33}, "bits must be in 2..32, not 33"),
        ({"frac": 0}, "frac must be in 1..15, not 0"),
        ({"frac": 16}, "frac must be in 1..15, not 16"),
        ({"coefficients": (1,)}, "coefficients must be at least two, not 1"),
        ({"coefficients": (1, 32768)}, "coefficients must be in -32768..32767, not 32768"),
    ],
)
def test_rejects_bad_fields(fields, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        HornerSpec(**{"coefficients": (1, 2), **fields})


@pytest.mark.parametrize("evaluate", [HornerSpec.compute, HornerSpec.reference])
def test_rejects_inputs_wider_than_the_unit(evaluate):
    with pytest.raises(SpecError, match=r"^x must be in -32768..32767, not 0..32768$"):
        evaluate(HornerSpec((1, 2)), np.array([0, 32768]))
    with pytest.raises(SpecError, match=r"^x must be in -512..511, not -600..0$"):
        evaluate(HornerSpec((1, 2), bits=10, frac=4), np.array([0, -600], np.int16))
