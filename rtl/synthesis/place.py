"""The clock that a design reaches on an ECP5 after placement and routing."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hwq.rtl.synthesis.flows import Flow, synthesize
from hwq.rtl.synthesis.tools import NEXTPNR, run_wheel

SEEDS: Final = (1, 2, 3)
"""The placer's random seeds; the median over them is reported."""
DEVICE: Final = ("--85k", "--package", "CABGA756", "--speed", "6")
_WANTED_MHZ: Final = "200"  # more than is reached, so that the tool tries hard to the end


def fmax_mhz(flow: Flow, top: str, folder: Path, seeds: tuple[int, ...] = SEEDS) -> float:
    """Place and route a design between registers; the median clock over `seeds`.

    Parameters
    ----------
    flow : Flow
        Flow for ECP5.
    top : str
        Module.
    folder : Path
        What `synthesize` left of it.
    seeds : tuple of int
        Seed of the placer.
    """
    ports = json.loads((folder / f"{top}.json").read_text(encoding="utf-8"))["modules"][top][
        "ports"
    ]
    text = (folder / f"{top}.v").read_text(encoding="utf-8")
    clocked = f"{top}_clocked"
    synthesize(flow, clocked, text + between_registers(top, ports), folder)
    return placed_mhz(clocked, folder, seeds)


def placed_mhz(top: str, folder: Path, seeds: tuple[int, ...]) -> float:
    """Place and route `{top}.json`; the median clock over `seeds`."""
    reached: list[float] = []
    for seed in seeds:
        report = f"{top}_{seed}_report.json"
        arguments = [*DEVICE, "--json", f"{top}.json", "--seed", str(seed)]
        arguments += ["--freq", _WANTED_MHZ, "--timing-allow-fail", "--quiet", "--report", report]
        run_wheel(NEXTPNR, arguments, folder)
        clocks = json.loads((folder / report).read_text(encoding="utf-8"))["fmax"]
        reached.append(min(clock["achieved"] for clock in clocks.values()))
    return statistics.median(reached)


def between_registers(top: str, ports: Mapping[str, Any]) -> str:
    """Return a module `{top}_clocked`: `top` with a register at every port but the clock.

    Paths from and to pins are not timed; inside a chip the neighbours of a design are registers.
    """
    widths = {name: f"[{len(port['bits']) - 1}:0]" for name, port in ports.items() if name != "clk"}
    outputs = [name for name in widths if ports[name]["direction"] == "output"]
    declared, moved = ["input clk"], []
    for name, width in widths.items():
        declared.append(f"{'output reg' if name in outputs else 'input'} {width} {name}")
        moved.append(f"{name} <= {name}_inside" if name in outputs else f"{name}_inside <= {name}")
    return "\n".join(
        [
            f"\nmodule {top}_clocked({', '.join(declared)});",
            *(
                f"{'wire' if name in outputs else 'reg'} {width} {name}_inside;"
                for name, width in widths.items()
            ),
            f"{top} inside(.clk(clk), {', '.join(f'.{name}({name}_inside)' for name in widths)});",
            f"always @(posedge clk) begin {' '.join(f'{move};' for move in moved)} end",
            "endmodule\n",
        ]
    )
