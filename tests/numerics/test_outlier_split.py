import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.numerics.fixed_point import dyadic_array
from hwq.numerics.outlier_split import NEVER, OutlierSplitSpec
from hwq.numerics.uniform import UniformSpec
from hwq.testing import exhaustive_or_corners


def split(scale: list[float], frac: int, *rest: int) -> OutlierSplitSpec:
    """Return the spec of tokens with the given scales, for `frac` fraction bits."""
    return OutlierSplitSpec(*dyadic_array(2.0**-frac / np.array(scale)), *rest)


SPECS = {
    "w8": split([0.031, 0.0625, 0.047], 11, 131, 9000, 8),
    "w4": split([2.0**-3, 0.21], 10, 7, 1500, 4),
    "w3": split([0.4], 12, 3, 8191, 3),
    "fine scale": split([2.0**-13, 0.3], 12, 15, 100, 4),  # side values leave 16 bits
    "zero threshold": split([0.05, 0.07], 12, 200, 0, 8),
    "threshold out of reach": split([0.05, 0.07], 12, 0, NEVER, 8),
    "threshold of the lowest": split([0.05], 12, 1, (1 << 15) - 1, 6),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
BOTH = ("compute", "outliers"), ("reference", "outliers_reference")


def int16_tokens(spec: OutlierSplitSpec) -> NDArray[np.int16]:
    """int16[T, 65536]: every number for every token."""
    x = np.arange(-(1 << 15), 1 << 15, dtype=np.int16)
    return np.tile(x, (spec.mult.size, 1))


@every_spec
def test_kernel_and_reference_equal_the_formula_on_every_16_bit_input(
    spec: OutlierSplitSpec,
) -> None:
    x = int16_tokens(spec)
    mult, shift = spec.mult[:, None], spec.shift[:, None]
    # floor(x * mult / 2**shift + 1/2); numpy's // rounds down
    wide = (2 * x.astype(np.int64) * mult + (1 << shift)) // (2 << shift)
    large = np.abs(x.astype(np.int64)) > spec.threshold
    dense = np.clip(wide + spec.zero_point, 0, 2**spec.bits - 1)
    codes = np.where(large, spec.zero_point, dense)
    side = np.where(large, np.clip(wide, -(2**15), 2**15 - 1), 0)
    saturated = int((np.where(large, side, dense - spec.zero_point) != wide).sum())
    for dense_of, side_of in BOTH:
        found, count = getattr(spec, dense_of)(x)
        assert (found.dtype, count) == (np.uint8, saturated)
        assert_array_equal(found, codes)
        found = getattr(spec, side_of)(x)
        assert found.dtype == np.int16
        assert_array_equal(found, side)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@every_spec
def test_wide_inputs_equal_the_reference_at_corners_and_at_random(
    spec: OutlierSplitSpec, dtype: type
) -> None:
    tokens = spec.mult.size
    x = exhaustive_or_corners(32, True, limit=400 * tokens).astype(dtype)
    x = np.concatenate([x, x[::-1]]).reshape(2, tokens, -1)  # two images
    assert x.min() == -(1 << 31)
    codes, saturated = spec.compute(x)
    expected, count = spec.reference(x)
    assert_array_equal(codes, expected)
    assert_array_equal(spec.outliers(x), spec.outliers_reference(x))
    assert saturated == count > 0


@every_spec
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_batches_and_windows_equal_the_reference(
    spec: OutlierSplitSpec, data: st.DataObject
) -> None:
    batch = data.draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (*batch, spec.mult.size, data.draw(st.integers(1, 4)))
    number = st.integers(-(1 << 15), (1 << 15) - 1) | st.integers(-spec.threshold, spec.threshold)
    count = int(np.prod(shape))
    x = np.array(data.draw(st.lists(number, min_size=count, max_size=count))).reshape(shape)
    codes, saturated = spec.compute(x)
    expected, expected_saturated = spec.reference(x)
    assert codes.shape == shape
    assert_array_equal(codes, expected)
    assert saturated == expected_saturated
    assert_array_equal(spec.outliers(x), spec.outliers_reference(x))
    first = np.broadcast_to(x.reshape(-1, *shape[-2:])[0], shape)
    assert_array_equal(spec.compute(first)[0], np.broadcast_to(spec.compute(first)[0], shape))


def test_without_outliers_a_token_is_encoded_as_by_the_uniform_unit() -> None:
    spec = SPECS["threshold out of reach"]
    x = int16_tokens(spec)
    codes, saturated = spec.compute(x)
    total = 0
    for n in range(2):
        unit = UniformSpec(int(spec.mult[n]), int(spec.shift[n]), spec.zero_point, spec.bits)
        expected, count = unit.compute(x[n])
        assert_array_equal(codes[n], expected)
        total += count
    assert saturated == total
    assert not spec.outliers(x).any()


def test_a_threshold_of_zero_leaves_nothing_to_the_dense_path() -> None:
    spec = SPECS["zero threshold"]
    x = int16_tokens(spec)
    assert (spec.compute(x)[0] == spec.zero_point).all()
    zero = x == 0
    assert not spec.outliers(x)[zero].any()


def test_an_outlier_is_larger_than_the_threshold_in_magnitude() -> None:
    spec = split([1.0], 0, 7, 5, 4)
    x = np.array([[-(1 << 15), -6, -5, 0, 5, 6, (1 << 15) - 1]], np.int16)
    assert spec.outliers(x).tolist() == [[-(1 << 15), -6, 0, 0, 0, 6, (1 << 15) - 1]]
    assert spec.compute(x)[0].tolist() == [[7, 7, 2, 7, 12, 7, 7]]


def test_an_int64_may_hold_either_sign_of_the_largest_magnitude() -> None:
    spec = split([2.0**17], 0, 7, NEVER - 1, 4)
    assert spec.outliers(np.array([[1 << 31, -(1 << 31)]])).tolist() == [[1 << 14, -(1 << 14)]]


def test_ties_go_up_on_both_paths() -> None:
    spec = split([1.0], 1, 8, 7, 4)  # halves: an odd x is a tie
    x = np.array([[-9, -7, -5, 5, 7, 9]], np.int32)
    assert spec.outliers(x).tolist() == [[-4, 0, 0, 0, 0, 5]]
    assert spec.compute(x)[0].tolist() == [[8, 5, 6, 11, 12, 8]]


def test_both_kinds_of_saturation_are_counted() -> None:
    spec = split([2.0**-4], 0, 7, 3, 4)
    x = np.array([[3, -3, 0, 2047, 2048, -2048, -2049]], np.int16)
    codes, saturated = spec.compute(x)
    assert codes.tolist() == [[15, 0, 7, 7, 7, 7, 7]]
    assert spec.outliers(x).tolist() == [[0, 0, 0, 32752, 32767, -32768, -32768]]
    assert saturated == 4


ONE = np.array([1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 9}, "bits must be in 2..8, not 9"),
        ({"bits": 1}, "bits must be in 2..8, not 1"),
        ({"bits": 4, "zero_point": 16}, "zero_point must be in 0..15, not 16"),
        ({"zero_point": -1}, "zero_point must be in 0..255, not -1"),
        ({"threshold": -1}, "threshold must be in 0..2\\*\\*31, not -1"),
        ({"mult": np.array([1 << 16])}, "mult must be in 0..65535, not 65536..65536"),
        ({"shift": np.array([0])}, "shift must be in 1..62, not 0..0"),
        ({"shift": np.array([1, 2])}, r"must both be \[T\], T >= 1, not \[1\] and \[2\]"),
    ],
)
def test_errors_name_the_field(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OutlierSplitSpec(**{"mult": ONE, "shift": ONE, "zero_point": 0, "threshold": 0, **fields})


@pytest.mark.parametrize("method", ["compute", "outliers", "reference", "outliers_reference"])
@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 3, 1)])
def test_x_must_have_the_tokens(method: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"x must be \[..., 2, C\], not \["):
        getattr(SPECS["w4"], method)(np.zeros(shape, np.int32))
