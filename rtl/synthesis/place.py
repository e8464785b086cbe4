"""The clock that a unit reaches on an ECP5 after placement and routing."""

import json
import statistics
from pathlib import Path
from typing import Final

from hwq.rtl.synthesis.tools import NEXTPNR, run_wheel

SEEDS: Final = (1, 2, 3)
"""The placer's random seeds; the median over them is reported."""
DEVICE: Final = ("--85k", "--package", "CABGA756", "--speed", "6")
_WANTED_MHZ: Final = "200"  # more than is reached, so that the tool tries hard to the end


def fmax_mhz(top: str, folder: Path, seeds: tuple[int, ...] = SEEDS) -> float:
    """Place and route `{top}.json`; the median over `seeds` of the clock between registers.

    Paths from and to pins are not constrained: inside a chip the neighbours are registers.
    """
    reached: list[float] = []
    for seed in seeds:
        report = f"{top}_{seed}_report.json"
        arguments = [*DEVICE, "--json", f"{top}.json", "--seed", str(seed), "--freq", _WANTED_MHZ]
        arguments += ["--timing-allow-fail", "--quiet", "--report", report]
        run_wheel(NEXTPNR, arguments, folder)
        clocks = json.loads((folder / report).read_text(encoding="utf-8"))["fmax"]
        reached.append(min(clock["achieved"] for clock in clocks.values()))
    return statistics.median(reached)
