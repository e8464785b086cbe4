"""Units of whole rows, and what they are made of."""

from collections.abc import Mapping

from hwq.numerics.gelu import GeluSpec
from hwq.numerics.isqrt import IsqrtSpec
from hwq.rtl.catalog.base import Unit
from hwq.rtl.gelu import Gelu
from hwq.rtl.isqrt import Isqrt

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
}
"""Stem -> row."""
