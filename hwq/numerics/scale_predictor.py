"""All per-image scales of a network from the ranges of one early tap, in integers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics import exp2, horner, range_extract
from hwq.numerics._jit import kernel
from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.horner import HornerSpec, _horner_step
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.unit import Unit, UnitTiming, Workload

FRAC = 12
_LOW, _HIGH = -(1 << 15), (1 << 15) - 1


class ScalePrediction(NamedTuple):
    """What the predictor says about each of L scales.

    log2_correction : int16[L], Q4.12; the factor on the static scale is 2**(correction / 2**12)
    mantissa, exponent : uint16[L], int8[L]; that factor, in the format of `hwq.numerics.exp2`
    reciprocal_mantissa, reciprocal_exponent : uint16[L], int8[L]; one over that factor
    """

    log2_correction: NDArray[np.int16]
    mantissa: NDArray[np.uint16]
    exponent: NDArray[np.int8]
    reciprocal_mantissa: NDArray[np.uint16]
    reciprocal_exponent: NDArray[np.int8]


@kernel
def _project(
    ranges: NDArray[np.int32],
    projection: NDArray[np.int16],
    offsets: NDArray[np.int32],
    shift: int,
) -> NDArray[np.int16]:
    """int32[C] -> int16[p]: sat16(((sum_c P[i,c]*ranges[c] + half) >> shift) + offsets[i])."""
    # |acc| <= C * 2**15 * 2**31 < 2**62 as the spec holds C < 2**16
    half = (1 << shift) >> 1
    out = np.empty(offsets.size, np.int16)
    for i in range(offsets.size):
        acc = half
        for c in range(ranges.size):
            acc += int(projection[i, c]) * int(ranges[c])
        out[i] = min(max((acc >> shift) + int(offsets[i]), _LOW), _HIGH)
    return out


@kernel
def _polynomial(
    features: NDArray[np.int16],
    coefficients: NDArray[np.int16],
    biases: NDArray[np.int16],
    limit: int,
) -> NDArray[np.int16]:
    """int16[p] -> int16[L]: clamp(bias + sum_i Horner(f_i; a_d .. a_1, 0), -limit, limit)."""
    # |acc * f + half| < 2**31 and p + 1 <= 9 summands of 16 bits: int64 is ample
    scales, inputs, degree = coefficients.shape
    out = np.empty(scales, np.int16)
    for k in range(scales):
        total = int(biases[k])
        for i in range(inputs):
            feature, acc = int(features[i]), int(coefficients[k, i, 0])
            for d in range(1, degree + 1):
                constant = int(coefficients[k, i, d]) if d < degree else 0
                acc = min(max(_horner_step(acc, feature, constant, FRAC), _LOW), _HIGH)
            total += acc
        out[k] = min(max(total, -limit), limit)
    return out


def scale_predictor_reference(
    ranges: NDArray[np.int32], spec: "ScalePredictorSpec"
) -> ScalePrediction:
    """int32[C] -> ScalePrediction: Python ints and the references of the units it is made of."""
    features = []
    for row, offset in zip(spec.projection, spec.offsets, strict=True):
        acc = sum(weight * int(value) for weight, value in zip(row, ranges, strict=True))
        rounded = (acc + ((1 << spec.shift) >> 1)) >> spec.shift
        features.append(np.array([min(max(rounded + offset, _LOW), _HIGH)], np.int16))
    corrections = []
    for polynomials, bias in zip(spec.coefficients, spec.biases, strict=True):
        total = bias
        for feature, coefficients in zip(features, polynomials, strict=True):
            horner = HornerSpec((*coefficients, 0), bits=16, frac=FRAC)
            total += int(horner.reference(feature)[0])
        corrections.append(min(max(total, -spec.limit), spec.limit))
    correction = np.array(corrections, np.int16)
    exp2 = Exp2Spec(in_bits=16, frac=FRAC)
    return ScalePrediction(correction, *exp2.reference(correction), *exp2.reference(-correction))


@dataclass(frozen=True, slots=True)
class ScalePredictorSpec:
    """Ranges of an early residual tap -> features -> polynomials -> scales.

    f_i = sat16(((sum_c projection[i, c] * range[c] + half) >> shift) + offsets[i])
    y_l = clamp(biases[l] + sum_i Horner(f_i; coefficients[l, i], 0), -limit, limit)
    scale factor = 2**(y_l / 2**12), and its reciprocal 2**(-y_l / 2**12).

    f, y, coefficients and biases are Q4.12: 4096 stands for 1.0. The Horner steps round half up
    and saturate (`hwq.numerics.horner`). Products of different features do not occur.

    Parameters
    ----------
    range_extract : RangeExtractSpec
        The statistic of one tap. `project` accepts the ranges of several taps, concatenated.
    projection : int16[p, C] as tuples
        p in 1..8 features of C ranges; C is a multiple of `range_extract.channels`.
    offsets : int32[p] as a tuple
        Centre each feature.
    coefficients : int16[L, p, degree] as tuples
        a_degree .. a_1 of each polynomial, highest degree first; degree in 1..3.
    biases : int16[L] as a tuple
        The constant of each scale's polynomial.
    shift : int in 0..47
        Divides the projection.
    limit : int in 0..32767
        Largest magnitude of a correction; 4096 is one octave.
    """

    range_extract: RangeExtractSpec
    projection: tuple[tuple[int, ...], ...] = field(repr=False)
    offsets: tuple[int, ...] = field(repr=False)
    coefficients: tuple[tuple[tuple[int, ...], ...], ...] = field(repr=False)
    biases: tuple[int, ...] = field(repr=False)
    shift: int = 0
    limit: int = 1 << FRAC

    def __post_init__(self) -> None:
        require(1 <= self.features <= 8, f"projection must have 1..8 rows, not {self.features}")
        columns, channels = self.columns, self.range_extract.channels
        require(
            0 < columns < 1 << 16 and columns % channels == 0,
            f"projection must have a multiple of channels = {channels} columns, not {columns}",
        )
        require(len({*map(len, self.projection)}) == 1, "projection must have rows of one length")
        require(0 <= self.shift <= 47, f"shift must be in 0..47, not {self.shift}")
        require(0 <= self.limit <= _HIGH, f"limit must be in 0..32767, not {self.limit}")
        require(
            len(self.offsets) == self.features,
            f"offsets must have one entry per feature, {self.features}, not {len(self.offsets)}",
        )
        self._check_polynomials()
        self._check_values()

    def _check_polynomials(self) -> None:
        require(self.scales >= 1, "coefficients must hold at least one scale")
        require(
            len(self.biases) == self.scales,
            f"biases must have one entry per scale, {self.scales}, not {len(self.biases)}",
        )
        shapes = {(len(rows), *map(len, rows)) for rows in self.coefficients}
        require(
            shapes == {(self.features, *[self.degree] * self.features)},
            f"coefficients must be [L, {self.features}, degree], not rows of {sorted(shapes)}",
        )
        require(1 <= self.degree <= 3, f"degree must be in 1..3, not {self.degree}")

    def _check_values(self) -> None:
        int16 = {
            "projection": [v for row in self.projection for v in row],
            "coefficients": [v for rows in self.coefficients for row in rows for v in row],
            "biases": list(self.biases),
        }
        for name, values in int16.items():
            low, high = min(values), max(values)
            require(_LOW <= low and high <= _HIGH, f"{name} must be int16, not {low}..{high}")
        low, high = min(self.offsets), max(self.offsets)
        require(-(1 << 31) <= low and high < 1 << 31, f"offsets must be int32, not {low}..{high}")

    @classmethod
    def from_arrays(
        cls,
        range_extract: RangeExtractSpec,
        projection: NDArray[np.integer],
        offsets: NDArray[np.integer],
        coefficients: NDArray[np.integer],
        biases: NDArray[np.integer],
        shift: int = 0,
        limit: int = 1 << FRAC,
    ) -> Self:
        """Build the spec from integer arrays of the shapes that the fields name."""
        return cls(
            range_extract=range_extract,
            projection=tuple(tuple(row) for row in projection.tolist()),
            offsets=tuple(offsets.tolist()),
            coefficients=tuple(tuple(map(tuple, rows)) for rows in coefficients.tolist()),
            biases=tuple(biases.tolist()),
            shift=shift,
            limit=limit,
        )

    @property
    def features(self) -> int:
        """The number of features, p."""
        return len(self.projection)

    @property
    def columns(self) -> int:
        """The number of ranges that `project` takes, C."""
        return len(self.projection[0]) if self.projection else 0

    @property
    def scales(self) -> int:
        """The number of predicted scales, L."""
        return len(self.coefficients)

    @property
    def degree(self) -> int:
        """The degree of the polynomials."""
        return len(self.coefficients[0][0]) if self.coefficients[0] else 0

    def project(self, ranges: NDArray[np.int32]) -> NDArray[np.int16]:
        """int32[C] -> int16[p]: ranges of the tap, or of several concatenated, to features."""
        require(
            ranges.shape == (self.columns,) and ranges.dtype == np.int32,
            f"ranges must be int32[{self.columns}], not {ranges.dtype}{list(ranges.shape)}",
        )
        projection = np.array(self.projection, np.int16)
        return _project(ranges, projection, np.array(self.offsets, np.int32), self.shift)

    def correct(self, features: NDArray[np.int16]) -> NDArray[np.int16]:
        """int16[p] -> int16[L]: the polynomials alone, as log2 corrections in Q4.12."""
        require(
            features.shape == (self.features,) and features.dtype == np.int16,
            f"features must be int16[{self.features}], not {features.dtype}{list(features.shape)}",
        )
        coefficients = np.array(self.coefficients, np.int16)
        return _polynomial(features, coefficients, np.array(self.biases, np.int16), self.limit)

    def predict(self, features: NDArray[np.int16]) -> ScalePrediction:
        """int16[p] -> ScalePrediction of the L scales."""
        correction = self.correct(features)
        exp2 = Exp2Spec(in_bits=16, frac=FRAC)
        return ScalePrediction(correction, *exp2.compute(correction), *exp2.compute(-correction))

    def predict_rows(self, ranges: NDArray[np.int32]) -> ScalePrediction:
        """int32[n, C] -> ScalePrediction of [n, L]: `project` and `predict` of every row."""
        require(
            ranges.ndim == 2 and ranges.shape[1] == self.columns and ranges.dtype == np.int32,
            f"ranges must be int32[n, {self.columns}], not {ranges.dtype}{list(ranges.shape)}",
        )
        projection = np.array(self.projection, np.int16)
        offsets = np.array(self.offsets, np.int32)
        coefficients = np.array(self.coefficients, np.int16)
        biases = np.array(self.biases, np.int16)
        correction = np.empty((len(ranges), self.scales), np.int16)
        for row, out in zip(ranges, correction, strict=True):
            features = _project(row, projection, offsets, self.shift)
            out[:] = _polynomial(features, coefficients, biases, self.limit)
        exp2 = Exp2Spec(in_bits=16, frac=FRAC)
        return ScalePrediction(correction, *exp2.compute(correction), *exp2.compute(-correction))

    def compute(self, tokens: NDArray[np.int16]) -> ScalePrediction:
        """int16[T, C] -> ScalePrediction, for a projection of one tap."""
        return self.predict(self.project(self.range_extract.compute(tokens)))

    def reference(self, tokens: NDArray[np.int16]) -> ScalePrediction:
        """int16[T, C] -> ScalePrediction, slowly."""
        return scale_predictor_reference(self.range_extract.reference(tokens), self)


def timing(values: int, features: int, scales: int, degree: int) -> UnitTiming:
    """Item: a stream of `values`, whose ranges give `scales` scales and their reciprocals.

    A scale takes a cycle per feature, at least `exp2`'s two, while the next stream is read.
    """
    per_scale = max(features, 2)
    parts = (range_extract.timing(values), horner.timing(degree), exp2.timing())
    # registers of the projection, of terms, sum and sign, and the second exp2 of the pair
    latency = 6 + 7 + 1 + sum(part.latency_cycles for part in parts)
    latency += features - 1 + (scales - 1) * per_scale
    return UnitTiming(latency, interval_cycles=max(values, scales * per_scale))


def _each_parameter(_: Callable[..., UnitTiming], load: Workload) -> tuple[UnitTiming, int]:
    """Item: a parameter. One multiplier does all, and a step waits for the one before it."""
    step = horner.timing(1).latency_cycles
    # the first word waits in a register; behind the last parameter are a step with 0, the clamp,
    # exp2 of the scale and of its reciprocal
    return UnitTiming(step + exp2.timing().latency_cycles + 4, interval_cycles=step), load.length


UNIT = Unit(
    "scale_predictor",
    ScalePredictorSpec,
    timing,
    ops=("scale_predictor",),
    work=(("int_multiply", 16, 16, 1), ("int_add", 32, 32, 1), ("shift", 32, 32, 1)),
    items=_each_parameter,
    cut="never",
)
