import importlib

import pytest

from hwq.errors import UsageError
from hwq.rtl.catalog import TWINS, twin
from hwq.rtl.pipeline import StreamUnit


@pytest.mark.parametrize("stem", TWINS)
def test_stem_names_gateware_numerics_and_class(stem: str) -> None:
    name = "".join(part.capitalize() for part in stem.split("_"))
    gateware = importlib.import_module(f"hwq.rtl.{stem}")
    numerics = importlib.import_module(f"hwq.numerics.{stem}")
    for made in (TWINS[stem].default, *TWINS[stem].verified.values()):
        assert isinstance(made, StreamUnit)
        assert type(made) is getattr(gateware, name)
        spec = type(made.spec)
        assert spec is getattr(numerics, spec.__name__)
        # LayerNorm is LayerNormSpec with its parameters
        assert spec.__name__.removesuffix("Spec").lower() == name.lower()


def test_unit_is_found_by_stem() -> None:
    assert twin("log2") is TWINS["log2"]


def test_an_unknown_unit_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown unit 'log3'; known: log2, horner, exp2"):
        twin("log3")
