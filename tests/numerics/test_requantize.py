import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.numerics.requantize import RequantizeSpec, requantize, requantize_reference

SPECS = [
    RequantizeSpec(1 << 15, 15),
    RequantizeSpec(43691, 24),
    RequantizeSpec(43691, 24, zero_point=117),
    RequantizeSpec(65535, 25, out_bits=8, signed=True),
    RequantizeSpec(50001, 28, zero_point=-3, out_bits=4, signed=True),
    RequantizeSpec(0, 1, zero_point=5, out_bits=4),
    RequantizeSpec(33333, 16, out_bits=16, signed=True),
    RequantizeSpec(65535, 62, out_bits=3),
]


def corners(rng: np.random.Generator, bits: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return seeded random accumulators of `bits` bits, of all magnitudes, extremes included."""
    limit = (1 << (bits - 1)) - 1
    acc = (rng.uniform(-1, 1, shape) * np.exp2(rng.uniform(0, bits - 1, shape))).astype(np.int64)
    extremes = [0, 1, -1, limit, -limit]
    acc.ravel()[: len(extremes)] = extremes
    return acc


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_spec_equals_reference_on_every_16_bit_accumulator(spec: RequantizeSpec) -> None:
    acc = np.arange(-(1 << 15), 1 << 15, dtype=np.int32)
    codes, saturated = spec.compute(acc)
    expected, expected_saturated = spec.reference(acc)
    assert_array_equal(codes, expected)
    assert codes.dtype == expected.dtype == spec.out.dtype
    assert saturated == expected_saturated


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("mult_shape", [(1, 1), (1, 33), (20, 1), (20, 33)])
@pytest.mark.parametrize("zero_shape", [(1, 1), (1, 33), (20, 1)])
def test_kernel_equals_reference(
    dtype: type, mult_shape: tuple[int, int], zero_shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    bits = 32 if dtype is np.int32 else 46
    acc = corners(rng, bits, (20, 33)).astype(dtype)
    mult = rng.integers(-65535, 65536, mult_shape)
    mult[0, 0] = -65535
    shift = rng.integers(bits - 16, bits + 16, mult_shape)
    zero_point = rng.integers(-300, 300, zero_shape)
    for lo, hi in [(0, 255), (-128, 127), (0, 15), (-32768, 32767), (-(1 << 31), (1 << 31) - 1)]:
        codes, saturated = requantize(acc, mult, shift, zero_point, lo, hi)
        expected, expected_saturated = requantize_reference(acc, mult, shift, zero_point, lo, hi)
        assert_array_equal(codes, expected)
        assert codes.dtype == expected.dtype
        assert saturated == expected_saturated


def test_the_widest_product_does_not_overflow() -> None:
    acc = np.array([[(1 << 46) - 1, 1 - (1 << 46)]])
    one = np.array([[1]])
    for shift in (1, 46, 61, 62):
        args = (acc, 65535 * one, shift * one, ((1 << 31) - 1) * one, -(1 << 31), (1 << 31) - 1)
        assert_array_equal(requantize(*args)[0], requantize_reference(*args)[0])


def test_ties_round_up() -> None:
    codes, saturated = RequantizeSpec(1 << 15, 16, signed=True).compute(np.array([-3, -1, 1, 3, 2]))
    assert codes.tolist() == [-1, 0, 1, 2, 1]
    assert saturated == 0


def test_saturation_is_counted_at_both_ends_and_only_where_it_happens() -> None:
    spec = RequantizeSpec(1 << 15, 15, zero_point=10, out_bits=4)
    codes, saturated = spec.compute(np.array([[-11, -10, 0], [5, 6, 1000]]))
    assert codes.tolist() == [[0, 0, 10], [15, 15, 15]]
    assert saturated == 3


def test_strided_and_empty_accumulators() -> None:
    spec = SPECS[1]
    acc = np.arange(-3000, 3000, dtype=np.int32).reshape(60, 100)
    assert_array_equal(spec.compute(acc[::2, ::3])[0], spec.compute(acc)[0][::2, ::3])
    assert spec.compute(np.zeros((0, 4), np.int32))[0].shape == (0, 4)
    one = np.ones((1, 1), np.int64)
    full = np.full((60, 200), 20000)[:, ::2]
    out, _ = requantize(acc[:, ::-1], full, 20 * one, one, 0, 255)
    assert_array_equal(out, requantize_reference(acc[:, ::-1], full, 20 * one, one, 0, 255)[0])


def test_narrow_inputs_are_widened() -> None:
    spec = RequantizeSpec(1 << 15, 15, out_bits=16)
    assert spec.compute(np.array([255, 3], np.uint8))[0].tolist() == [255, 3]
    assert spec.compute(np.array([65535], np.uint16))[0].tolist() == [65535]
    wide = RequantizeSpec(1 << 15, 31, out_bits=16)
    assert wide.compute(np.array([(1 << 32) - 1], np.uint32))[0].tolist() == [65535]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mult", 1 << 16, "mult must be in 0..65535, not 65536"),
        ("shift", 0, "shift must be in 1..62, not 0"),
        ("zero_point", 1 << 31, "zero_point must be within 32 bits, not 2147483648"),
        ("out_bits", 32, "out_bits must be in 1..31, not 32"),
    ],
)
def test_spec_errors_name_the_field(field: str, value: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RequantizeSpec(**{"mult": 1, "shift": 1, field: value})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"acc": np.zeros(3, np.int32)}, r"acc must be int32 or int64\[R, C\], not int32\[3\]"),
        ({"acc": np.zeros((2, 3))}, r"acc must be int32 or int64\[R, C\], not float64\[2, 3\]"),
        ({"acc": np.full((2, 3), 1 << 46)}, r"\|acc\| must be below 2\*\*46"),
        ({"mult": np.full((1, 1), 1 << 16)}, "mult must be in -65535..65535"),
        ({"mult": np.ones((1, 2), int)}, r"mult must broadcast to \[2, 3\], not \[1, 2\]"),
        ({"shift": np.zeros((1, 3), int)}, "shift must be in 1..62"),
        ({"shift": np.full((2, 1), 63)}, "shift must be in 1..62"),
        ({"zero_point": np.full((1, 1), 1 << 31)}, "zero_point must be in"),
        ({"hi": 1 << 31}, "lo..hi must be within 32 bits, not 0..2147483648"),
    ],
)
def test_operand_errors_name_the_operand(changed: dict[str, object], message: str) -> None:
    one = np.ones((1, 1), np.int64)
    operands: dict[str, object] = {"acc": np.zeros((2, 3), np.int32), "mult": one, "shift": one}
    operands |= {"zero_point": one, "lo": 0, "hi": 255} | changed
    with pytest.raises(SpecError, match=message):
        requantize(**operands)
