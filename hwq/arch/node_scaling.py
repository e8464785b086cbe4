"""How a figure known at one technology node becomes one at another.

Energies are interpolated on logarithmic axes between two published tables at 45 and 7 nm
("anchors"), because the general scaling factors of the literature ("stillmaker", offered as an
alternative) contradict them by up to six times at 7 nm.
"""

import csv
import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Literal

NODE_MIN_NM = 7
NODE_MAX_NM = 45

EnergyScaling = Literal["anchors", "stillmaker"]
Points = Sequence[tuple[float, float]]


def read_table(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file of this package."""
    text = resources.files("hwq.arch").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def interpolate_log(points: Points, at: float) -> float:
    """Value at `at` on the straight lines through `points` (ascending) on logarithmic axes.

    The first and the last line continue beyond the ends; a single point is a constant.
    """
    if len(points) == 1:
        return points[0][1]
    upper = 1
    while upper < len(points) - 1 and points[upper][0] < at:
        upper += 1
    (x0, y0), (x1, y1) = points[upper - 1], points[upper]
    if at in (x0, x1):
        return y0 if at == x0 else y1
    share = math.log(at / x0) / math.log(x1 / x0)
    return float(y0 * (y1 / y0) ** share)


@cache
def node_factor(quantity: str, node_nm: float) -> float:
    """Relative to 45 nm: "area", or energy after "stillmaker"."""
    points = [
        (float(row["node_nm"]), float(row["factor"]))
        for row in read_table("node_scaling.csv")
        if row["quantity"] == quantity
    ]
    return interpolate_log(sorted(points), node_nm)
