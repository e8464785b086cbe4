import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.numerics.gemm import gemm, pack
from hwq.numerics.outlier_join import MAX_ROW_MULT, OutlierJoinSpec, check_join

LIMITS = {np.int8: 1 << 7, np.int16: 1 << 15, np.int32: 1 << 31}


def draw(
    rng: np.random.Generator, dtype: type, shape: tuple[int, ...], zeros: float = 0
) -> NDArray:
    """Integers of the whole range of a type, a share of them 0."""
    values = rng.integers(-LIMITS[dtype], LIMITS[dtype], shape).astype(dtype)
    return np.where(rng.random(shape) < zeros, dtype(0), values)


def operands(
    batch: tuple[int, ...], tokens: int, channels: int, columns: int, zeros: float, seed: int = 0
) -> tuple[OutlierJoinSpec, NDArray[np.int32], NDArray[np.int16], NDArray[np.int8]]:
    rng = np.random.default_rng(seed)
    row_mult = rng.integers(1, MAX_ROW_MULT + 1, tokens)
    correction = rng.integers(-(1 << 31), 1 << 31, columns)
    return (
        OutlierJoinSpec(row_mult, correction),
        draw(rng, np.int32, (*batch, tokens, columns)),
        draw(rng, np.int16, (*batch, tokens, channels), zeros),
        draw(rng, np.int8, (columns, channels)),
    )


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
def test_kernel_and_reference_equal_python_integers(batch: tuple[int, ...], zeros: float) -> None:
    spec, acc, outliers, weight = operands(batch, 3, 7, 5, zeros)
    expected = np.zeros(acc.shape, object)
    for *image, n, j in np.ndindex(acc.shape):
        total = int(acc[(*image, n, j)]) + int(spec.correction[j])
        for c in range(7):
            total += int(outliers[(*image, n, c)]) * int(weight[j, c])
        expected[(*image, n, j)] = total * int(spec.row_mult[n])
    for method in (spec.compute, spec.reference):
        joined = method(acc, outliers, weight)
        assert joined.dtype == np.int64
        assert joined.tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(
    batch=st.lists(st.integers(1, 3), max_size=2),
    sizes=st.tuples(*(st.integers(1, 9) for _ in range(3))),
    zeros=st.floats(0, 1),
    seed=st.integers(0, 1 << 20),
)
def test_kernel_equals_the_reference(
    batch: list[int], sizes: tuple[int, int, int], zeros: float, seed: int
) -> None:
    spec, *values = operands(tuple(batch), *sizes, zeros, seed)
    assert_array_equal(spec.compute(*values), spec.reference(*values))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_are_exact(sign: int) -> None:
    channels = 2048
    row_mult = np.full(2, MAX_ROW_MULT)
    spec = OutlierJoinSpec(row_mult, np.full(1, (sign - 1) << 30))
    acc = np.full((2, 1), (1 << 31) - 1 if sign > 0 else -(1 << 31), np.int32)
    outliers = np.full((2, channels), -(1 << 15), np.int16)
    weight = np.full((1, channels), -128 if sign > 0 else 127, np.int8)
    side = (1 << 15) * channels * (128 if sign > 0 else -127)
    expected = (int(acc[0, 0]) + int(spec.correction[0]) + side) * MAX_ROW_MULT
    assert spec.compute(acc, outliers, weight).ravel().tolist() == [expected, expected]
    assert_array_equal(spec.compute(acc, outliers, weight), spec.reference(acc, outliers, weight))
    assert abs(expected) < 1 << 46


def test_a_sum_of_one_split_stays_below_the_bound() -> None:
    check_join(2048)
    check_join(4096, 2047)
    with pytest.raises(SpecError, match=r"stay below 2\*\*45, not reach 35192957829120 \(C = 2049"):
        check_join(2049)
    with pytest.raises(SpecError, match=r"C = 4096, row_mult <= 2048"):
        check_join(4096, 2048)
    assert 2048 * (1 << 22) * MAX_ROW_MULT < 1 << 45


def test_compute_refuses_what_the_bound_refuses() -> None:
    spec = OutlierJoinSpec(np.array([MAX_ROW_MULT]), np.zeros(1, np.int64))
    acc, outliers = np.zeros((1, 1), np.int32), np.zeros((1, 2049), np.int16)
    for method in (spec.compute, spec.reference):
        with pytest.raises(SpecError, match="a joined sum must stay below"):
            method(acc, outliers, np.zeros((1, 2049), np.int8))


def test_an_outlier_counts_as_if_the_array_had_seen_it() -> None:
    """Codes with the outliers at zero_point, joined, are the product of code + side value."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (2, 5, 40)).astype(np.uint8)
    weight = draw(rng, np.int8, (6, 40))
    outliers = draw(rng, np.int16, codes.shape, zeros=0.9)
    codes[outliers != 0] = 100
    row_mult = rng.integers(1024, 4096, 5)
    acc = gemm(codes.reshape(10, 40), pack(weight.T)).reshape(2, 5, 6)
    correction = -100 * weight.astype(np.int64).sum(1)
    joined = OutlierJoinSpec(row_mult, correction).compute(acc, outliers, weight)
    whole = codes.astype(np.int64) - 100 + outliers
    assert_array_equal(joined, whole @ weight.T.astype(np.int64) * row_mult[:, None])


def test_the_memory_order_of_operands_does_not_matter() -> None:
    spec, acc, outliers, weight = operands((2,), 3, 8, 4, 0.5)
    turned = [np.asfortranarray(values) for values in (acc, outliers, weight)]
    assert_array_equal(spec.compute(*turned), spec.compute(acc, outliers, weight))
    image = outliers[1:]
    assert_array_equal(spec.compute(acc[1:], image, weight), spec.reference(acc[1:], image, weight))


@pytest.mark.parametrize(
    ("row_mult", "correction", "message"),
    [
        ([0], [0], "row_mult must be in 1..4095, not 0..0"),
        ([7, 4096], [0], "row_mult must be in 1..4095, not 7..4096"),
        ([[1]], [0], r"row_mult must be int64\[n\], n >= 1, not int64\[1, 1\]"),
        ([1], [(1 << 31) + 1], "correction must be in -2\\*\\*31..2\\*\\*31, not 2147483649"),
        ([1], [0.5], r"correction must be int64\[n\], n >= 1, not float64\[1\]"),
    ],
)
def test_errors_name_the_field(row_mult: list, correction: list, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OutlierJoinSpec(np.array(row_mult), np.array(correction))


@pytest.mark.parametrize(
    ("at", "operand", "message"),
    [
        (0, np.zeros((3, 4), np.int64), "acc must be int32, not int64"),
        (1, np.zeros((3, 8), np.int8), "outliers must be int16, not int8"),
        (2, np.zeros((4, 8), np.int16), "weight must be int8, not int16"),
        (0, np.zeros((2, 4), np.int32), r"acc must be \[..., 3, 4\], not \[2, 4\]"),
        (0, np.zeros((3, 5), np.int32), r"acc must be \[..., 3, 4\], not \[3, 5\]"),
        (1, np.zeros((2, 8), np.int16), r"outliers must be \[3, 8\], not \[2, 8\]"),
        (2, np.zeros((5, 8), np.int8), r"weight must be \[4, C >= 1\], not \[5, 8\]"),
    ],
)
def test_operands_must_fit(at: int, operand: NDArray, message: str) -> None:
    spec, *values = operands((), 3, 8, 4, 0.5)
    values[at] = operand
    with pytest.raises(SpecError, match=message):
        spec.compute(*values)


def test_a_stream_of_terms_gives_the_same_sums():
    rng = np.random.default_rng(3)
    tokens, columns, channels = 4, 3, 20
    side = np.zeros((2, tokens, channels), np.int16)
    side[..., ::6] = rng.integers(-(1 << 15), 1 << 15, side[..., ::6].shape)
    side[:, 1] = 0  # a token without outliers
    weight = rng.integers(-128, 128, (columns, channels), np.int8)
    acc = rng.integers(-(1 << 31), 1 << 31, (2, tokens, columns)).astype(np.int32)
    row_mult, correction = np.array([1, 4095, 77, 300]), np.array([-(1 << 31), 5, 1 << 31])
    spec = OutlierJoinSpec(row_mult, correction)
    terms = []
    for image, token, column in np.ndindex(acc.shape):
        found = np.flatnonzero(side[image, token]).tolist() or [0]
        for channel in found:
            last = channel == found[-1]
            value = side[image, token, channel]
            terms.append((acc[image, token, column], value, weight[column, channel], last))
    stream = np.array(terms, np.int64)
    wanted = spec.compute(acc, side, weight).ravel()
    assert_array_equal(spec.stream(stream), wanted)
    assert_array_equal(spec.stream(stream[:-1]), wanted[:-1])
    assert spec.stream(stream[:0]).size == 0
