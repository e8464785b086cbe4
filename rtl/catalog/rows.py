# amaranth: UnusedElaboratable=no
"""Units of whole rows, and what they are made of."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.isqrt import IsqrtSpec
from hwq.numerics.layer_norm import MAX_GAMMA, LayerNormSpec
from hwq.numerics.layer_norm import LayerNorm as NormSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.rtl.catalog.base import Twin
from hwq.rtl.isqrt import Isqrt
from hwq.rtl.layer_norm import LayerNorm
from hwq.rtl.softmax import Softmax

ELEMENTS = 100_000
"""What a unit of rows is verified with, at least."""


def example_layer_norm(
    dim: int,
    gamma_shift: int,
    out: FixedPoint,
    epsilon: int = 1,
    spread: float = 0.4,
    centered: bool = True,
) -> NormSpec:
    """Return a layer norm with seeded gamma of all 16 bits and beta of `spread` times the range.

    More than half of the range saturates many elements whatever the token.
    """
    rng = np.random.default_rng(0)
    spec = LayerNormSpec(dim, epsilon, gamma_shift, out, centered)
    gamma = rng.integers(-MAX_GAMMA, MAX_GAMMA, dim, np.int32, endpoint=True)
    end = 2.0 ** (out.bits - 1 + spec.shift)
    beta = np.floor(rng.standard_normal(dim) * spread * end).astype(np.int64)
    return NormSpec(spec, gamma, beta)


def enough_rows(unit: Softmax | LayerNorm) -> NDArray[np.int64]:
    """Return the words of as many rows as have ELEMENTS elements."""
    return unit.stimulus(np.random.default_rng(0), -(-ELEMENTS // unit.length))


def _row_unit(default: Softmax | LayerNorm, verified: Mapping[str, Softmax | LayerNorm]) -> Twin:
    """Return a unit of rows, verified with ELEMENTS elements."""
    stimuli: dict[str, Callable[[], NDArray[np.int64]]] = {
        label: partial(enough_rows, unit) for label, unit in verified.items()
    }
    return Twin(default, verified, stimuli)


ROWS: Mapping[str, Twin] = {
    "isqrt": Twin(
        Isqrt(IsqrtSpec()),
        {f"bits{bits}": Isqrt(IsqrtSpec(bits)) for bits in (16, 36, 25)},
    ),
    "softmax": _row_unit(
        Softmax(SoftmaxSpec(10), 197, 16),
        {
            "length8_lanes8": Softmax(SoftmaxSpec(6), 8, 8),
            "length13_lanes4": Softmax(SoftmaxSpec(14), 13, 4),
            "length5_lanes1": Softmax(SoftmaxSpec(1), 5, 1, in_bits=7),
            "length6_lanes4_wide": Softmax(SoftmaxSpec(12), 6, 4, in_bits=24),
            "length197_lanes16": Softmax(SoftmaxSpec(10), 197, 16),
        },
    ),
    "layer_norm": _row_unit(
        LayerNorm(example_layer_norm(192, 13, FixedPoint(8, 4), spread=1.0), 16),
        {
            "length8_lanes8": LayerNorm(example_layer_norm(8, 12, FixedPoint(16, 11)), 8),
            "length13_lanes4": LayerNorm(
                example_layer_norm(13, 15, FixedPoint(9, 7, signed=False), 1 << 30), 4
            ),
            "length5_lanes1": LayerNorm(example_layer_norm(5, 31, FixedPoint(12, 27), 3), 1),
            "length10_lanes4_wide": LayerNorm(
                example_layer_norm(10, 3, FixedPoint(32, 18), 1 << 44, spread=0.43), 4
            ),
            "length13_lanes4_rms": LayerNorm(
                example_layer_norm(13, 14, FixedPoint(12, 9), 1 << 20, centered=False), 4
            ),
            "length192_lanes16": LayerNorm(
                example_layer_norm(192, 13, FixedPoint(8, 4), spread=1.0), 16
            ),
        },
    ),
}
"""Stem -> row."""
