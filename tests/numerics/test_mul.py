import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.mul import MulSpec

ENDS = np.array([-32768, -32767, -1, 0, 1, 2, 3, 32766, 32767], np.int16)


def assert_kernel_equals_reference(spec, a, b):
    got, saturated = spec.compute(a, b)
    wanted, clamped = spec.reference(a, b)
    assert got.dtype == wanted.dtype == spec.out.dtype
    assert_array_equal(got, wanted)
    assert saturated == clamped
    return saturated


@pytest.mark.parametrize("out", [FixedPoint(16, 12), FixedPoint(8, 3, False), FixedPoint(32, 9)])
@pytest.mark.parametrize("shift", [0, 1, 2, 15, 30, 31])
def test_kernel_equals_reference(out, shift):
    rng = np.random.default_rng(shift)
    a, b = (rng.integers(-32768, 32768, (300, 9)).astype(np.int16) for _ in range(2))
    assert_kernel_equals_reference(MulSpec(shift, out), a, b)
    assert_kernel_equals_reference(MulSpec(shift, out), ENDS[:, None], ENDS)


@pytest.mark.parametrize("shift", [0, 3, 7, 14])
def test_all_pairs_of_8_bits(shift):
    a = np.arange(-128, 128, dtype=np.int16)
    saturated = assert_kernel_equals_reference(MulSpec(shift, FixedPoint(8, 4)), a[:, None], a)
    assert (saturated > 0) == (shift <= 7)


def test_ties_go_up():
    y, _ = MulSpec(1, FixedPoint(16, 0)).compute(np.int16([1, -1, 3, -3]), np.int16([1, 1, 1, 1]))
    assert y.tolist() == [1, 0, 2, -1]


def test_operands_broadcast_and_pixels_are_taken():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 4, 64)
    factor = np.array([[[-300], [0], [7], [32767]]], np.int16)
    assert_kernel_equals_reference(MulSpec(8, FixedPoint(16, 3)), pixels, factor)


@pytest.mark.parametrize(
    ("formats", "shift", "frac"),
    [
        ((FixedPoint(16, 12), FixedPoint(16, 14), FixedPoint(16, 10)), 16, 10),
        ((FixedPoint(16, 2), FixedPoint(16, 3), FixedPoint(16, 14)), 0, 5),
        ((FixedPoint(16, 31), FixedPoint(16, 20), FixedPoint(16, 1)), 31, 20),
        ((FixedPoint(16, -3), FixedPoint(16, 2), FixedPoint(16, -4)), 3, -4),
    ],
    ids=["plain", "coarse operands", "fine operands", "multiples"],
)
def test_the_nearest_format_that_a_product_can_have(formats, shift, frac):
    spec = MulSpec.between(*formats)
    assert (spec.shift, spec.out) == (shift, FixedPoint(16, frac))


def test_error_is_at_most_half_a_unit():
    a_form, b_form, out = FixedPoint(16, 12), FixedPoint(16, 15), FixedPoint(32, 13)
    rng = np.random.default_rng(3)
    a, b = (rng.integers(-32768, 32768, 10_000).astype(np.int16) for _ in range(2))
    y, saturated = MulSpec.between(a_form, b_form, out).compute(a, b)
    exact = a_form.to_float(a) * b_form.to_float(b)
    assert saturated == 0 and np.abs(out.to_float(y) - exact).max() <= out.lsb / 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shift": -1}, r"shift must be in 0..31, not -1"),
        ({"shift": 32}, r"shift must be in 0..31, not 32"),
        ({"out": FixedPoint(33, 0)}, r"out must have at most 32 bits, not 33"),
    ],
)
def test_rejects_bad_fields(fields, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        MulSpec(**{"shift": 3, "out": FixedPoint(16, 4), **fields})


@pytest.mark.parametrize("evaluate", [MulSpec.compute, MulSpec.reference])
def test_rejects_wide_operands(evaluate):
    with pytest.raises(SpecError, match=r"^b must be in -32768..32767, not 0..32768$"):
        evaluate(MulSpec(3, FixedPoint(16, 4)), np.int16([1, 2]), np.array([0, 32768]))
