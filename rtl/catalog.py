"""The units: stem -> class, default parameters, and the parameters that are verified."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UsageError
from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.horner import HornerSpec
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.scale_predictor import ScalePredictorSpec
from hwq.rtl.exp2 import Exp2
from hwq.rtl.horner import Horner
from hwq.rtl.log2 import Log2
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.range_extract import RangeExtract
from hwq.rtl.scale_predictor import ScalePredictor


@dataclass(frozen=True)
class Unit:
    """One row of the catalogue.

    Parameters
    ----------
    component : callable
        Spec -> gateware.
    default : spec
        What is emitted when nothing else is asked for.
    verified : mapping of str to spec
        Label -> what the benches run.
    stimuli : mapping of str to callable
        Label -> its inputs, where those of `hwq.testing.stimulus` will not do.
    """

    component: Callable[[Any], StreamUnit]
    default: Any
    verified: Mapping[str, Any]
    stimuli: Mapping[str, Callable[[], NDArray[np.int64]]] = field(default_factory=dict)

    def build(self) -> StreamUnit:
        """Return the gateware with the default parameters."""
        return self.component(self.default)


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


UNITS: Mapping[str, Unit] = {
    "log2": Unit(
        Log2,
        Log2Spec(),
        {
            **{f"base2_bits{b}": Log2Spec(bits=b) for b in (3, 4, 8)},
            **{f"sqrt2_bits{b}": Log2Spec(bits=b, steps_per_octave=2) for b in (3, 4, 8)},
            "offset": Log2Spec(bits=4, steps_per_octave=2, offset=7),
            "narrow": Log2Spec(in_bits=9, bits=6, offset=2, max_exponent=7),
        },
    ),
    "horner": Unit(
        Horner,
        HornerSpec((1411, 3960, 4096)),
        {
            "degree1": HornerSpec((-5003, 1201)),
            "degree2": HornerSpec((1411, 3960, 4096)),
            "degree3": HornerSpec((-350, 2048, 5000, -1200)),
            "bits8": HornerSpec((3, -40, 100), bits=8, frac=5),
        },
    ),
    "exp2": Unit(
        Exp2,
        Exp2Spec(),
        {"q4_12": Exp2Spec(), "narrow": Exp2Spec(in_bits=14, frac=10, mantissa_bits=8)},
    ),
    "range_extract": Unit(
        RangeExtract,
        RangeExtractSpec(channels=192),
        {
            "channels16": RangeExtractSpec(channels=16, chunk_tokens=4, chunks=2),
            "channels5": RangeExtractSpec(channels=5, chunk_tokens=3, chunks=4),
            "smallest": RangeExtractSpec(channels=2, chunk_tokens=1, chunks=1),
        },
    ),
    "scale_predictor": Unit(
        ScalePredictor,
        example_predictor(192, 14, 14, features=4, scales=50, degree=2),
        {
            **{f"degree{d}": example_predictor(2, 2, 1, 2, 2, d) for d in (1, 2, 3)},
            **{f"feature_degree{d}": feature_sweep(d) for d in (1, 2, 3)},
            "many_scales": example_predictor(2, 2, 1, features=8, scales=4, degree=2),
            "two_taps": example_predictor(3, 3, 2, features=3, scales=7, degree=3, taps=2),
            "one_scale": example_predictor(2, 2, 1, features=1, scales=1, degree=1),
        },
        {
            **{f"degree{d}": many_streams for d in (1, 2, 3)},
            **{f"feature_degree{d}": every_feature for d in (1, 2, 3)},
        },
    ),
}
"""Every unit, by stem."""


def unit(stem: str) -> Unit:
    """Return the row of `stem`; an unknown one raises UsageError with the known ones."""
    if stem not in UNITS:
        raise UsageError(f"unknown unit {stem!r}; known: {', '.join(UNITS)}")
    return UNITS[stem]
