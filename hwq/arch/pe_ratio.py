"""Area and energy of a kind of processing element relative to `multiply`, from `synthesis.csv`.

What the elements of `hwq.rtl` are in osu018 cells depends on the recipe as well as on the kind. Of
each kind the best recipe counts, as a designer would choose it: a recipe that treats one kind badly
then changes nothing, where a mean over recipes would flatter the others. The result always lies
between the ratios of the single recipes.

Energy is that of zero-delay toggles: what must switch. Glitches depend on wires that are not known;
with them, elements without a multiplier look better and `multiply_shift` worse.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from hwq.arch.node_scaling import read_table
from hwq.errors import require
from hwq.numerics.pe import MULTIPLY, PeKind

Widths = tuple[int, int]
"""a_bits and b_bits."""

COLUMNS: Final = {"area": "area_um2", "energy": "zero_delay_pj"}


@cache
def pe_ratio(kind: PeKind, a_bits: int, b_bits: int, quantity: Literal["area", "energy"]) -> float:
    """Ratio of a kind to `multiply` at the nearest measured widths, each by its best recipe."""
    here, multiply = (
        measured(each, COLUMNS[quantity])[nearest_widths(a_bits, b_bits)]
        for each in (kind, MULTIPLY)
    )
    return min(here.values()) / min(multiply.values())


def recipe_ratios(kind: PeKind, widths: Widths, column: str) -> dict[str, float]:
    """Recipe -> ratio of a kind to `multiply`, both by that recipe."""
    here, multiply = (measured(each, column)[widths] for each in (kind, MULTIPLY))
    return {recipe: value / multiply[recipe] for recipe, value in here.items()}


def nearest_widths(a_bits: int, b_bits: int) -> Widths:
    """Of the widths that every kind is measured at, those of the least |difference| in all."""
    return min(
        measured(MULTIPLY, "area_um2"),
        key=lambda known: abs(known[0] - a_bits) + abs(known[1] - b_bits),
    )


@cache
def measured(kind: PeKind, column: str) -> Mapping[Widths, Mapping[str, float]]:
    """Widths -> recipe -> a column of the osu018 rows of a kind."""
    ratios: dict[Widths, dict[str, float]] = {}
    for row in read_table("synthesis.csv"):
        if (row["block"], row["name"], row["target"]) == ("pe", kind.name, "osu018"):
            words = dict(word.split("=") for word in row["parameters"].split())
            widths = (int(words["a_bits"]), int(words["b_bits"]))
            ratios.setdefault(widths, {})[row["recipe"]] = float(row[column])
    require(
        bool(ratios),
        f"synthesis.csv has no row of the processing element {kind.name!r}: append what "
        f"`hwq synth --unit {kind.name} --csv FILE` measures",
    )
    return ratios
