from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.scale_predictor import ScalePredictorSpec

EXTRACT = RangeExtractSpec(channels=6, chunk_tokens=3, chunks=2)


def random_spec(
    seed: int, degree: int, features: int = 3, scales: int = 5, limit: int = 4096
) -> ScalePredictorSpec:
    rng = np.random.default_rng(seed)
    return ScalePredictorSpec.from_arrays(
        EXTRACT,
        projection=rng.integers(-128, 128, (features, EXTRACT.channels)),
        offsets=rng.integers(-9000, 9000, features),
        coefficients=rng.integers(-6000, 6000, (scales, features, degree)),
        biases=rng.integers(-2000, 2000, scales),
        shift=8,
        limit=limit,
    )


def random_tokens(seed: int, spec: ScalePredictorSpec, high: int = 4000) -> NDArray[np.int16]:
    extract = spec.range_extract
    shape = (extract.tokens, extract.channels)
    return np.random.default_rng(seed).integers(-high, high, shape).astype(np.int16)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("limit", [0, 1000, 4096, 32767])
def test_kernel_equals_reference(degree: int, limit: int) -> None:
    for seed in range(20):
        spec = random_spec(seed, degree, features=1 + seed % 8, limit=limit)
        tokens = random_tokens(seed, spec, high=1 + 1600 * seed)
        for got, want in zip(spec.compute(tokens), spec.reference(tokens), strict=True):
            assert_array_equal(got, want)
            assert np.asarray(got).dtype == np.asarray(want).dtype


def test_every_value_of_a_feature_saturates_like_the_reference() -> None:
    spec = random_spec(7, degree=3, features=1, scales=2)
    x = np.arange(-32768, 32768, 97)
    for feature in x.astype(np.int16):
        y = spec.correct(np.array([feature], np.int16))
        for k, (polynomials, bias) in enumerate(zip(spec.coefficients, spec.biases, strict=True)):
            acc = 0
            for c in (*polynomials[0], None):
                if c is not None:
                    acc = max(min(acc + c, 32767), -32768)
                    acc = (acc * int(feature) + 2048) >> 12
            assert y[k] == max(min(max(min(acc, 32767), -32768) + bias, 4096), -4096)


def test_zero_coefficients_leave_the_static_scale() -> None:
    spec = ScalePredictorSpec.from_arrays(
        EXTRACT,
        projection=np.ones((2, 6), np.int8),
        offsets=np.zeros(2, np.int32),
        coefficients=np.zeros((4, 2, 2), np.int16),
        biases=np.zeros(4, np.int16),
    )
    prediction = spec.compute(random_tokens(0, spec))
    assert_array_equal(prediction.log2_correction, np.zeros(4, np.int16))
    assert_array_equal(prediction.mantissa, np.full(4, 1 << 15))
    assert_array_equal(prediction.exponent, np.zeros(4))
    assert_array_equal(prediction.reciprocal_mantissa, np.full(4, 1 << 15))


def test_scale_and_reciprocal_multiply_to_one() -> None:
    spec = random_spec(3, degree=2, scales=40)
    for seed in range(10):
        p = spec.compute(random_tokens(seed, spec))
        scale = p.mantissa / 2**15 * np.exp2(p.exponent)
        reciprocal = p.reciprocal_mantissa / 2**15 * np.exp2(p.reciprocal_exponent)
        assert np.abs(scale * reciprocal - 1).max() < 2**-14
        assert np.abs(np.log2(scale) - p.log2_correction / 4096).max() < 2**-14


def test_projection_rounds_half_up_and_saturates() -> None:
    spec = ScalePredictorSpec(
        RangeExtractSpec(channels=1, chunk_tokens=2, chunks=1),
        projection=((1,), (-1,), (127,)),
        offsets=(0, 0, 5),
        coefficients=(((0,),) * 3,),
        biases=(0,),
        shift=1,
    )
    assert spec.project(np.array([3], np.int32)).tolist() == [2, -1, 196]
    assert spec.project(np.array([65535], np.int32)).tolist() == [32767, -32767, 32767]
    assert spec.project(np.array([65538], np.int32)).tolist() == [32767, -32768, 32767]


def test_widest_projection_does_not_wrap() -> None:
    extract = RangeExtractSpec(channels=2560, chunk_tokens=2, chunks=1 << 15)
    row = (-(1 << 15),) * 2560
    spec = ScalePredictorSpec(extract, (row,), (0,), (((4096,),),), (0,), shift=47)
    ranges = np.full(2560, 65535 << 15, np.int32)
    want = ((-(1 << 15) * 2560 * (65535 << 15)) + (1 << 46)) >> 47
    assert spec.project(ranges).tolist() == [want]


def test_ranges_of_two_taps_are_concatenated() -> None:
    one = random_spec(0, degree=2)
    doubled = tuple(row + row[::-1] for row in one.projection)
    spec = ScalePredictorSpec(EXTRACT, doubled, one.offsets, one.coefficients, one.biases, 8)
    taps = [EXTRACT.compute(random_tokens(seed, one)) for seed in (0, 1)]
    ranges = np.concatenate([taps[0], taps[1]])
    want = np.array(doubled) @ ranges.astype(np.int64) + 128 >> 8
    want = np.clip(want + np.array(one.offsets), -32768, 32767)
    assert_array_equal(spec.project(ranges), want)
    with pytest.raises(SpecError, match=r"ranges must be int32\[12\], not int32\[6\]"):
        spec.compute(random_tokens(0, one))


def test_rejects_features_of_another_shape() -> None:
    with pytest.raises(SpecError, match=r"features must be int16\[3\], not int16\[2\]"):
        random_spec(0, degree=2).predict(np.zeros(2, np.int16))


P, A = ((1,) * 6,) * 2, ((1, 1),) * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"projection": ()}, r"projection must have 1\.\.8 rows, not 0"),
        (
            {"projection": ((1,) * 5,) * 2},
            "projection must have a multiple of channels = 6 columns, not 5",
        ),
        ({"projection": ((1,) * 6, (1,) * 12)}, "projection must have rows of one length"),
        ({"projection": ((1 << 15,) * 6,) * 2}, r"projection must be int16, not 32768\.\.32768"),
        ({"shift": 48}, r"shift must be in 0\.\.47, not 48"),
        ({"limit": 1 << 15}, r"limit must be in 0\.\.32767, not 32768"),
        ({"offsets": (0,)}, "offsets must have one entry per feature, 2, not 1"),
        ({"offsets": (0, 1 << 31)}, r"offsets must be int32, not 0\.\.2147483648"),
        ({"coefficients": ()}, "coefficients must hold at least one scale"),
        ({"biases": (0,)}, "biases must have one entry per scale, 2, not 1"),
        ({"biases": (0, -32769)}, r"biases must be int16, not -32769\.\.0"),
        ({"coefficients": (A, ((1, 1),))}, r"coefficients must be \[L, 2, degree\], not rows of"),
        ({"coefficients": (A, ((1, 1), (1,)))}, r"coefficients must be \[L, 2, degree\], not"),
        ({"coefficients": (((),) * 2,) * 2}, r"degree must be in 1\.\.3, not 0"),
        ({"coefficients": (A, ((1, 1), (1, 1 << 15)))}, "coefficients must be int16, not 1"),
    ],
)
def test_errors_name_the_field(fields: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "range_extract": EXTRACT,
        "projection": P,
        "offsets": (0, 0),
        "coefficients": (A, A),
        "biases": (0, 0),
    }
    ScalePredictorSpec(**good)
    with pytest.raises(SpecError, match=message):
        ScalePredictorSpec(**(good | fields))


def test_rows_are_predicted_like_one() -> None:
    spec = ScalePredictorSpec(EXTRACT, P, (7, -9), (A, A), (5, -3), shift=2)
    ranges = np.random.default_rng(0).integers(0, 1 << 16, (20, spec.columns), dtype=np.int32)
    rows = spec.predict_rows(ranges)
    for number, one in enumerate(ranges):
        for all_rows, single in zip(rows, spec.predict(spec.project(one)), strict=True):
            assert all_rows.dtype == single.dtype
            np.testing.assert_array_equal(all_rows[number], single)
    with pytest.raises(SpecError, match="ranges must be int32"):
        spec.predict_rows(ranges[:, :1])
