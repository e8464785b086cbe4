"""The presets' clocks are what the longest path of the gateware's cells allows at their node."""

import math
from pathlib import Path

import pytest

from hwq.arch.clock import CELLS_NM, MARGIN, clock_at, slowest_path_ns
from hwq.arch.load import list_accelerators, load_accelerator
from hwq.arch.node_scaling import read_table


@pytest.mark.parametrize("name", list_accelerators())
def test_a_preset_has_the_clock_of_the_rule(name: str) -> None:
    machine = load_accelerator(name)
    low, high, chosen = clock_at(machine.technology_nm, slowest_path_ns())
    assert machine.clock_mhz == chosen
    assert low < chosen < high


def test_delays_are_those_of_the_polynomials() -> None:
    """Two of them by hand: coefficients of V**3, V**2, V and 1."""
    factors = {
        (row["quantity"], row["node_nm"]): float(row["factor"])
        for row in read_table("node_scaling.csv")
    }
    cells = 97.09 * 1.8**2 - 356.7 * 1.8 + 406.5
    fast = 34.63 * 0.9**2 - 66.37 * 0.9 + 41.15
    slow = -160.5 * 0.9**3 + 514.1 * 0.9**2 - 558.6 * 0.9 + 217.5
    assert CELLS_NM == 180
    assert factors["delay_high_performance", "20"] == pytest.approx(fast / cells, rel=1e-3)
    assert factors["delay_low_power", "20"] == pytest.approx(slow / cells, rel=1e-3)


def test_a_clock_is_one_over_the_path_with_its_wires() -> None:
    low, high, chosen = clock_at(20, 8.0)
    assert low == pytest.approx(1000 / (MARGIN * 8.0 * 0.1794))
    assert high == pytest.approx(1000 / (MARGIN * 8.0 * 0.1198))
    assert chosen == 700 and abs(chosen - math.sqrt(low * high)) <= 25
    assert clock_at(20, 4.0).low == pytest.approx(2 * low)


@pytest.mark.parametrize("node_nm", (22, 16))
def test_the_page_has_the_clocks_of_the_rule(node_nm: int) -> None:
    page = (Path(__file__).parents[2] / "docs/accelerators.md").read_text(encoding="utf-8")
    low, high, chosen = clock_at(node_nm, slowest_path_ns())
    assert f"| {node_nm} nm | {low:.0f} MHz | {high:.0f} MHz | {chosen} MHz |" in page
    assert f"cells takes {slowest_path_ns():.2f} ns" in page
