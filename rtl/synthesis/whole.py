"""A whole accelerator as logic: every kind of its modules by itself, and how many there are.

Modules stay modules, for two hundred equal elements are one to map; memories stay memories.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hwq.errors import UsageError
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.emit import rtlil
from hwq.rtl.shared import emit_whole
from hwq.rtl.synthesis.flows import LIBERTY, Flow, counts, memory_bits
from hwq.rtl.synthesis.hierarchy import instances, merged, readable
from hwq.rtl.synthesis.tools import YOSYS, cell_file, run_wheel

TOP: Final = "accelerator"


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of module.

    Parameters
    ----------
    module : str
        Its name in yosys.
    count : int
        How many there are in the accelerator.
    figures : mapping of str to float
        What one is made of, without the modules in it.
    """

    module: str
    count: int
    figures: Mapping[str, float]

    @property
    def name(self) -> str:
        """Where the first of them is; an element's class."""
        return re.sub(rf"^{TOP}[._](?=.)|_\d+$", "", self.module)


def design_text(gateware: AcceleratorGateware) -> str:
    """Return the accelerator as RTLIL, each kind of module once."""
    return merged(readable(emit_whole(gateware, TOP, rtlil)))


def whole_script(flow: Flow) -> str:
    """Return the script of a flow for a design whose modules and memories stay.

    Raises
    ------
    UsageError
        If the target has none.
    """
    if flow.is_netlist:
        return flow.script.replace(" -flatten", "")
    if flow.target != "ecp5":
        raise UsageError(f"an accelerator has targets ecp5, gates, osu018, not {flow.target}")
    command = flow.script.replace("-json {top}.json", "-noflatten -run")
    return f"{command} begin:map_ram; {command} map_gates:edif"


def parts(flow: Flow, text: str, folder: Path) -> list[Part]:
    """Run `flow` on a `design_text` in the empty `folder`; return its parts, the top first.

    Leaves `accelerator.json`: the modules, on ECP5 before they become logic, else of cells.
    """
    (folder / f"{TOP}.il").write_text(text, encoding="utf-8")
    # what is constant or not used outside of a module is so within it, as if all were flat
    commands = [f"read_rtlil {TOP}.il; hierarchy -top {TOP}; proc; opt_clean -purge; opt -hier"]
    if flow.target == "ecp5":
        collected = f"memory -nomap; opt_clean; write_json {TOP}.json"
        commands.append(f"design -push-copy; {collected}; design -pop")
    commands.append(whole_script(flow).format(top=TOP))
    liberty = ""
    if flow.is_cells:
        (folder / LIBERTY).write_bytes(cell_file("lib").read_bytes())
        liberty = f" -liberty {LIBERTY}"
    commands.append(f"tee -q -o stat.json stat -json{liberty}")
    if flow.is_cells:
        commands.append(f"write_json {TOP}.json")
    commands.append("select t:$mem*; write_json -selected memories.json")
    run_wheel(YOSYS, ["-q", "-p", "; ".join(commands)], folder)
    return _parts(flow, _read(folder / "stat.json"), _read(folder / "memories.json"))


def read_modules(folder: Path) -> Mapping[str, Any]:
    """Return the modules that `parts` left, in yosys's JSON."""
    modules: Mapping[str, Any] = _read(folder / f"{TOP}.json")["modules"]
    return modules


def total(parts: list[Part]) -> dict[str, float]:
    """Return the sums over all instances."""
    return {
        name: sum(part.count * part.figures.get(name, 0) for part in parts)
        for name in dict.fromkeys(name for part in parts for name in part.figures)
    }


def _parts(flow: Flow, statistics: Mapping[str, Any], memories: Mapping[str, Any]) -> list[Part]:
    modules = {name.removeprefix("\\"): own for name, own in statistics["modules"].items()}
    cells = {name: own.get("num_cells_by_type", {}) for name, own in modules.items()}
    areas = {name: float(own.get("area", 0)) for name, own in modules.items()}
    found = []
    for name, count in instances(cells, TOP).items():
        own = {kind: number for kind, number in cells[name].items() if kind not in cells}
        figures = counts(flow, {"num_cells_by_type": own})
        if "area" in modules[name]:
            # yosys has counted the area of the modules within, but not their cells
            below = sum(n * areas[kind] for kind, n in cells[name].items() if kind in cells)
            figures["area_um2"] = round(areas[name] - below, 3)
        inside = memories["modules"].get(name, {"cells": {}})
        found.append(Part(name, count, figures | {"memory_bits": memory_bits(inside)}))
    return found


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
