# amaranth: UnusedElaboratable=no
"""Units that predict an image's scales."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.scale_predictor import ScalePredictorSpec
from hwq.rtl.catalog.base import Twin
from hwq.rtl.range_extract import RangeExtract
from hwq.rtl.scale_predictor import ScalePredictor


def example_predictor(
    channels: int,
    chunk_tokens: int,
    chunks: int,
    features: int,
    scales: int,
    degree: int,
    taps: int = 1,
) -> ScalePredictorSpec:
    """Return a predictor with seeded coefficients whose features fill most of their range."""
    rng = np.random.default_rng(0)
    extract = RangeExtractSpec(channels, chunk_tokens, chunks)
    columns = taps * channels
    widest = (127 * columns * chunks * 65535).bit_length()
    largest = [3000 >> 2 * (degree - 1 - k) for k in range(degree)]
    return ScalePredictorSpec.from_arrays(
        extract,
        projection=rng.integers(-128, 128, (features, columns)),
        offsets=rng.integers(-4096, 4096, features),
        coefficients=(rng.uniform(-1, 1, (scales, features, degree)) * largest).astype(np.int64),
        biases=rng.integers(-1000, 1000, scales),
        shift=max(widest - 17, 0),
    )


def feature_sweep(degree: int) -> ScalePredictorSpec:
    """Return a predictor whose one feature is range 0 minus 32768: it reaches every value."""
    coefficients = {1: (-2311,), 2: (781, 3907), 3: (-352, 1203, 4001)}[degree]
    other = tuple(-c // 3 for c in coefficients)
    return ScalePredictorSpec(
        RangeExtractSpec(channels=2, chunk_tokens=2, chunks=1),
        projection=((1, 0),),
        offsets=(-32768,),
        coefficients=((coefficients,), (other,)),
        biases=(17, -300),
    )


def every_feature() -> NDArray[np.int64]:
    """int64[65536*4]: the token streams that give `feature_sweep` every feature, shuffled."""
    tokens = np.full((65536, 2, 2), -32768, np.int64)
    tokens[:, 1, 0] += np.random.default_rng(0).permutation(65536)
    return tokens.reshape(-1)


def many_streams() -> NDArray[np.int64]:
    """int64[100000*4]: token streams of every spread, of 2 tokens and 2 channels."""
    extract = RangeExtract(RangeExtractSpec(channels=2, chunk_tokens=2, chunks=1))
    return extract.stimulus(np.random.default_rng(0), 100_000)


def _predictor(*shape: int) -> ScalePredictor:
    return ScalePredictor(example_predictor(*shape))


PREDICTION: Mapping[str, Twin] = {
    "range_extract": Twin(
        RangeExtract(RangeExtractSpec(channels=192)),
        {
            "channels16": RangeExtract(RangeExtractSpec(channels=16, chunk_tokens=4, chunks=2)),
            "channels5": RangeExtract(RangeExtractSpec(channels=5, chunk_tokens=3, chunks=4)),
            "smallest": RangeExtract(RangeExtractSpec(channels=2, chunk_tokens=2, chunks=1)),
        },
    ),
    "scale_predictor": Twin(
        _predictor(192, 14, 14, 4, 50, 2),
        {
            **{f"degree{d}": _predictor(2, 2, 1, 2, 2, d) for d in (1, 2, 3)},
            **{f"feature_degree{d}": ScalePredictor(feature_sweep(d)) for d in (1, 2, 3)},
            "many_scales": _predictor(2, 2, 1, 8, 4, 2),
            "two_taps": _predictor(3, 3, 2, 3, 7, 3, 2),
            "one_scale": _predictor(2, 2, 1, 1, 1, 1),
        },
        {
            **{f"degree{d}": many_streams for d in (1, 2, 3)},
            **{f"feature_degree{d}": every_feature for d in (1, 2, 3)},
        },
    ),
}
"""Stem -> row."""
