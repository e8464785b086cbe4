"""The clock that a gateware may have at a node, from its longest path in cells of another.

clock = 1 / (MARGIN * path * delay(node) / delay(180 nm)). The delays of a gate are those of
Stillmaker and Baas 2017, at the nominal voltage of each node, for transistors of high performance
and of low power: these are the ends of what the clock may be, and the geometric mean is taken.
"""

import math
from typing import Final, NamedTuple

from hwq.arch.node_scaling import node_factor, read_table

MARGIN: Final = 1.25
"""What wires, and the skew of the clock, add to a path: assumed."""
CELLS_NM: Final = 180
STEP_MHZ: Final = 50
TABLE: Final = "synthesis_edge_16x16.csv"


class Clock(NamedTuple):
    """Clocks in MHz: of low power, of high performance, and between them to STEP_MHZ."""

    low: float
    high: float
    chosen: int


def slowest_path_ns() -> float:
    """Return the longest path of any kind of module of the accelerator in cells."""
    return max(float(row["path_ns"] or 0) for row in read_table(TABLE))


def clock_at(node_nm: float, path_ns: float) -> Clock:
    """Return the clocks that a path of cells at CELLS_NM allows at a node of 7 to 45 nm."""
    low, high = (
        1000 / (MARGIN * path_ns * node_factor(quantity, node_nm))
        for quantity in ("delay_low_power", "delay_high_performance")
    )
    return Clock(low, high, round(math.sqrt(low * high) / STEP_MHZ) * STEP_MHZ)
