import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.softmax import SoftmaxSpec


def scores(rows, columns, octaves, frac, dtype=np.int16, seed=0):
    wide = np.random.default_rng(seed).normal(0, octaves * 2.0**frac, (rows, columns))
    info = np.iinfo(dtype)
    return np.clip(np.rint(wide), info.min, info.max).astype(dtype)


def softmax_float(x, frac):
    power = np.exp2((x.astype(np.float64) - x.max(-1, keepdims=True)) / 2.0**frac)
    return power / power.sum(-1, keepdims=True)


def hard_rows(columns, frac, dtype):
    """Equal scores, one winner, two winners, rows just beyond every shift, both ends of dtype."""
    info = np.iinfo(dtype)
    rows = [np.full(columns, value) for value in (info.min, 0, info.max)]
    for distance in (1, (16 << frac) + 1, (18 << frac) - 1, 31 << frac, info.max):
        row = np.full(columns, -distance)
        row[-1] = 0
        rows.append(row)
    ends = np.full(columns, info.min)
    ends[columns // 2] = info.max
    return np.array([*rows, ends]).clip(info.min, info.max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
@pytest.mark.parametrize("columns", [1, 2, 197])
@pytest.mark.parametrize("frac", [1, 8, 12, 14])
def test_kernel_equals_reference(frac, columns, dtype):
    spec = SoftmaxSpec(frac)
    x = np.concatenate(
        [
            hard_rows(columns, frac, dtype),
            *(scores(3, columns, octaves, frac, dtype) for octaves in (0.3, 3, 30)),
        ]
    )
    assert_array_equal(spec.compute(x), spec.reference(x))


def test_kernel_equals_reference_at_4096_columns():
    spec = SoftmaxSpec(10)
    x = np.concatenate([hard_rows(4096, 10, np.int16), scores(3, 4096, 2, 10)])
    assert_array_equal(spec.compute(x), spec.reference(x))


def test_every_distance_of_a_pair():
    spec = SoftmaxSpec(11)
    x = np.zeros((1 << 15, 2), np.int16)
    x[:, 1] = -np.arange(1 << 15)
    p = spec.compute(x)
    assert np.abs(p / 65536 - softmax_float(x, 11)).max() <= 2.0**-15
    assert_array_equal(p[::37], spec.reference(x[::37]))
    assert (np.diff(p[:, 1].astype(int)) <= 0).all()


@pytest.mark.parametrize("columns", [1, 2, 197, 1024, 4096])
@pytest.mark.parametrize("frac", [6, 8, 12, 14])
def test_error_against_float64(frac, columns):
    spec = SoftmaxSpec(frac)
    dtype = np.int32
    for octaves in (0.1, 1, 3, 10, 100):
        x = scores(16, columns, octaves, frac, dtype)
        assert np.abs(spec.compute(x) / 65536 - softmax_float(x, frac)).max() <= 2.0**-15
    x = hard_rows(columns, frac, dtype)
    assert np.abs(spec.compute(x) / 65536 - softmax_float(x, frac)).max() <= 2.0**-15


def test_many_small_terms_are_not_lost_in_the_sum():
    x = np.full((1, 4096), -(18 << 8) - 255, np.int16)
    x[0, 0] = 0
    wanted = softmax_float(x, 8)[0, 0]
    assert wanted < 1 - 2.0**-8
    assert abs(SoftmaxSpec(8).compute(x)[0, 0] / 65536 - wanted) <= 2.0**-15


def test_one_saturates():
    assert_array_equal(SoftmaxSpec(8).compute(np.array([[5], [-9]], np.int16)), [[65535]] * 2)
    assert_array_equal(SoftmaxSpec(8).compute(np.array([0, -32768], np.int16)), [65535, 0])


def test_equal_scores_share_equally():
    assert_array_equal(SoftmaxSpec(8).compute(np.full((1, 64), 77, np.int16)), [[1024] * 64])


def test_adding_a_constant_changes_nothing():
    x = scores(8, 197, 2, 8)
    assert_array_equal(SoftmaxSpec(8).compute(x), SoftmaxSpec(8).compute(x + np.int16(10000)))


def test_keeps_leading_axes():
    x = scores(6, 5, 2, 8)
    assert_array_equal(
        SoftmaxSpec(8).compute(x.reshape(2, 3, 5)).reshape(6, 5), SoftmaxSpec(8).compute(x)
    )
    assert SoftmaxSpec(8).compute(x[:0]).shape == (0, 5)


@pytest.mark.parametrize("frac", [0, 15])
def test_rejects_bad_frac(frac):
    with pytest.raises(SpecError, match=rf"^frac must be in 1\.\.14, not {frac}$"):
        SoftmaxSpec(frac)


@pytest.mark.parametrize("evaluate", [SoftmaxSpec.compute, SoftmaxSpec.reference])
def test_rejects_bad_inputs(evaluate):
    spec = SoftmaxSpec(8)
    with pytest.raises(SpecError, match=r"^x must be int16 or int32, not int64$"):
        evaluate(spec, np.zeros((1, 2), np.int64))
    for columns in (0, 4097):
        with pytest.raises(SpecError, match=rf"^x must have 1\.\.4096 columns, not {columns}$"):
            evaluate(spec, np.zeros((1, columns), np.int16))


def rows_of(bits, columns):
    """int16[10, T]: equal at both ends, a maximum among minima, two of them, a ramp, random."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    rows = np.full((10, columns), low, np.int16)
    rows[1] = high
    rows[2, columns // 2] = rows[3, 0] = rows[3, -1] = rows[4, -1] = high
    rows[5] = np.linspace(low, high, columns)
    rows[6:] = np.random.default_rng(bits).integers(low, high, (4, columns), endpoint=True)
    return rows


@pytest.mark.parametrize("columns", [1, 2, 4, 197, 1370, 4096])
@pytest.mark.parametrize("bits", range(2, 10))
def test_rows_of_short_scores(bits, columns):
    """Sums within 3T * 2**-18 + 2**-15 of 1; a larger score is never less probable."""
    x = rows_of(bits, columns)
    for frac in (1, 4, 8):
        p = SoftmaxSpec(frac).compute(x)
        assert p.dtype == np.uint16  # 65535/65536 at most: never above 1
        sums = p.sum(-1, dtype=np.int64)
        assert np.abs(sums - 65536).max() <= 3 * columns / 4 + 2
        order = np.argsort(x, axis=-1, kind="stable")
        ranked = np.take_along_axis(p.astype(np.int64), order, -1)
        assert (np.diff(ranked, axis=-1) >= 0).all()
        assert (p[:2] == p[:2, :1]).all()
    if columns <= 197:
        assert_array_equal(SoftmaxSpec(4).compute(x), SoftmaxSpec(4).reference(x))


@pytest.mark.parametrize("columns", [2, 4, 197, 1370, 4096])
def test_one_maximum_far_above_all_others_takes_everything(columns):
    x = np.full((1, columns), -(1 << 15), np.int16)
    x[0, columns // 3] = (1 << 15) - 1
    p = SoftmaxSpec(8).compute(x)
    assert p[0, columns // 3] == 65535 and p.sum() == 65535
