"""Units of whole rows, and what they are made of."""

from collections.abc import Mapping

from hwq.numerics.isqrt import IsqrtSpec
from hwq.rtl.catalog.base import Unit
from hwq.rtl.isqrt import Isqrt

ROWS: Mapping[str, Unit] = {
    "isqrt": Unit(
        Isqrt(IsqrtSpec()),
        {f"bits{bits}": Isqrt(IsqrtSpec(bits)) for bits in (16, 36, 25)},
    ),
}
"""Stem -> row."""
