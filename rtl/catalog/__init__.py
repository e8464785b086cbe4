"""Every unit, by stem: what it is emitted and verified with."""

from collections.abc import Mapping

from hwq.errors import UsageError
from hwq.rtl.catalog.base import Twin
from hwq.rtl.catalog.elementwise import ELEMENTWISE
from hwq.rtl.catalog.prediction import PREDICTION
from hwq.rtl.catalog.products import PRODUCTS
from hwq.rtl.catalog.quantizers import QUANTIZERS
from hwq.rtl.catalog.rows import ROWS

TWINS: Mapping[str, Twin] = {**ELEMENTWISE, **QUANTIZERS, **PRODUCTS, **PREDICTION, **ROWS}
"""Every unit, by stem."""


def twin(stem: str) -> Twin:
    """Return the row of `stem`; an unknown one raises UsageError with the known ones."""
    if stem not in TWINS:
        raise UsageError(f"unknown unit {stem!r}; known: {', '.join(TWINS)}")
    return TWINS[stem]
