"""Units of whole rows, and what they are made of."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hwq.numerics.gelu import GeluSpec
from hwq.numerics.isqrt import IsqrtSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.rtl.catalog.base import Unit
from hwq.rtl.gelu import Gelu
from hwq.rtl.isqrt import Isqrt
from hwq.rtl.softmax import Softmax

ELEMENTS = 100_000
"""What a unit of rows is verified with, at least."""


def enough_rows(unit: Softmax) -> NDArray[np.int64]:
    """Return the words of as many rows as have ELEMENTS elements."""
    return unit.stimulus(np.random.default_rng(0), -(-ELEMENTS // unit.length))


def _row_unit(default: Softmax, verified: Mapping[str, Softmax]) -> Unit:
    """Return a unit of rows, verified with ELEMENTS elements."""
    stimuli: dict[str, Callable[[], NDArray[np.int64]]] = {
        label: partial(enough_rows, unit) for label, unit in verified.items()
    }
    return Unit(default, verified, stimuli)


ROWS: Mapping[str, Unit] = {
    "isqrt": Unit(
        Isqrt(IsqrtSpec()),
        {f"bits{bits}": Isqrt(IsqrtSpec(bits)) for bits in (16, 36, 25)},
    ),
    "gelu": Unit(
        Gelu(GeluSpec()),
        {
            **{f"frac{frac}": Gelu(GeluSpec(frac)) for frac in (8, 9, 10, 11, 12)},
            "bits20": Gelu(GeluSpec(12, 20)),
            "narrow": Gelu(GeluSpec(8, 9)),
        },
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
}
"""Stem -> row."""
