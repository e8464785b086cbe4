"""Yosys flows: a target and a recipe, as a script, and what is read from its statistics."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hwq.errors import UsageError
from hwq.rtl.synthesis.tools import YOSYS, cell_file, run_wheel

LIBERTY: Final = "osu018_stdcells.lib"
# yosys's script without `&fraig -x`, which takes minutes for a wide multiplier to save 0.4 %
_ABC: Final = "-script +strash;scorr;dc2;dretime;strash;&get,-n;&dch,-f"
_SMALL: Final = "&nf,-R,10"


def _logic(options: str) -> str:
    """What `synth` does, but memories stay memories: no gates, no cells are made for storage."""
    return (
        f"synth -flatten {options} -top {{top}} -run begin:fine; opt -fast -full; opt -full; "
        "techmap; opt -fast"
    )


def _gates(options: str = "") -> str:
    return f"{_logic(options)}; abc -g AND,XOR,MUX {_ABC};&nf;&put; opt_clean"


def _cells(options: str = "", mapper: str = "&nf") -> str:
    return (
        f"{_logic(options)}; dfflibmap -liberty {LIBERTY}; "
        f"abc -liberty {LIBERTY} {_ABC};{mapper};&put;buffer;upsize;dnsize; opt_clean"
    )


@dataclass(frozen=True, slots=True)
class Flow:
    """One way of making logic from Verilog.

    Parameters
    ----------
    target, recipe : str
        Its names; the recipe is named after what differs from yosys's defaults.
    script : str
        Yosys commands; {top} is the module.
    """

    target: str
    recipe: str
    script: str

    @property
    def is_cells(self) -> bool:
        """Whether the result is made of osu018 cells."""
        return self.target == "osu018"

    @property
    def is_netlist(self) -> bool:
        """Whether the result is a netlist of gates or cells, in which memories stay memories."""
        return self.target in ("gates", "osu018")


FLOWS: Final[tuple[Flow, ...]] = (
    Flow("ice40", "dsp", "synth_ice40 -dsp -top {top}"),
    Flow("ice40", "no_dsp", "synth_ice40 -top {top}"),
    Flow("ecp5", "dsp", "synth_ecp5 -top {top} -json {top}.json"),
    Flow("ecp5", "no_dsp", "synth_ecp5 -nodsp -top {top} -json {top}.json"),
    Flow("xc7", "dsp", "synth_xilinx -family xc7 -noiopad -top {top}"),
    Flow("xc7", "no_dsp", "synth_xilinx -family xc7 -nodsp -noiopad -top {top}"),
    Flow("gates", "default", _gates()),
    Flow("gates", "booth", _gates("-booth")),
    Flow("osu018", "default", _cells()),
    Flow("osu018", "noalumacc", _cells("-noalumacc")),
    Flow("osu018", "booth", _cells("-booth")),
    Flow("osu018", "area", _cells("", _SMALL)),
    Flow("osu018", "booth_area", _cells("-booth", _SMALL)),
)
"""Every flow. `no_dsp` keeps multipliers in LUTs; `noalumacc` does not merge a multiplier and the
adder after it; `booth` encodes multipliers by Booth's method; `area` maps for area, not delay."""

TARGETS: Final = tuple(dict.fromkeys(flow.target for flow in FLOWS))
RECIPES: Final = tuple(dict.fromkeys(flow.recipe for flow in FLOWS))

_CELL_KINDS: Final = {
    "lut": r"SB_LUT4|LUT\d",
    "flip_flops": r"SB_DFF\w*|TRELLIS_FF|FD[RSCP]E(_1)?|DFF\w+|\$_\w*DFF\w*",
    "dsp": r"SB_MAC16|MULT18X18D|DSP48E1",
    "block_ram": r"SB_RAM40\w*|DP16KD|RAMB\w+",
    "lut_ram": r"TRELLIS_DPR16X4|RAM\d\w+",
    "carry": r"SB_CARRY|CCU2C|CARRY4",
}
_NO_LOGIC: Final = r"\$scopeinfo|\$mem\w*"


def flows(targets: list[str], recipes: list[str]) -> list[Flow]:
    """Return the flows of these targets and recipes; an empty list asks for all.

    Raises
    ------
    UsageError
        For an unknown name, or if nothing is left.
    """
    for kind, names, known in (("target", targets, TARGETS), ("recipe", recipes, RECIPES)):
        for name in names:
            if name not in known:
                raise UsageError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
    chosen = [
        flow
        for flow in FLOWS
        if (not targets or flow.target in targets) and (not recipes or flow.recipe in recipes)
    ]
    if not chosen:
        raise UsageError(f"no target of {', '.join(targets)} has a recipe {', '.join(recipes)}")
    return chosen


def synthesize(flow: Flow, top: str, text: str, folder: Path) -> dict[str, float]:
    """Run `flow` on the module `top` in the empty `folder`; return counts, and the area if known.

    Leaves `{top}.json` (ECP5), or `{top}_gates.v` and `{top}_gates.json` (gates and cells: the
    netlist as module `{top}_gates`).
    """
    (folder / f"{top}.v").write_text(text, encoding="utf-8")
    # Amaranth names the elements of an array "name[0]", which abc takes for a bit of a port
    commands = [f"read_verilog {top}.v; hierarchy -top {top}; proc; opt_clean -purge"]
    commands.append(flow.script.format(top=top))
    liberty = ""
    if flow.is_cells:
        (folder / LIBERTY).write_bytes(cell_file("lib").read_bytes())
        liberty = f" -liberty {LIBERTY}"
    commands.append(f"tee -q -o {top}_stat.json stat -json{liberty}")
    if flow.is_netlist:
        commands += [
            f"rename {top} {top}_gates",
            "rename -enumerate -pattern g% c:*",  # the same instance names in both files
            f"write_verilog -noattr {top}_gates.v",
            f"write_json {top}_gates.json",
        ]
    run_wheel(YOSYS, ["-q", "-p", "; ".join(commands)], folder)
    statistics = json.loads((folder / f"{top}_stat.json").read_text(encoding="utf-8"))
    cells = counts(flow, statistics["design"])
    if flow.is_netlist:
        text = (folder / f"{top}_gates.json").read_text(encoding="utf-8")
        cells["memory_bits"] = memory_bits(json.loads(text)["modules"][f"{top}_gates"])
    return cells


def memory_bits(module: Mapping[str, Any]) -> int:
    """Sum the sizes of the memories of a module in yosys's JSON."""
    memories = [cell for cell in module["cells"].values() if cell["type"].startswith("$mem")]
    parameters = [memory["parameters"] for memory in memories]
    return sum(int(each["SIZE"], 2) * int(each["WIDTH"], 2) for each in parameters)


def counts(flow: Flow, design: Mapping[str, Any]) -> dict[str, float]:
    """Sum the cells of `stat -json` by kind; `gates` are neither flip-flops nor memories."""
    cells: Mapping[str, int] = design.get("num_cells_by_type", {})

    def total(pattern: str) -> int:
        return sum(count for cell, count in cells.items() if re.fullmatch(pattern, cell))

    if flow.is_netlist:
        flip_flops = total(_CELL_KINDS["flip_flops"])
        figures: dict[str, float] = {
            "flip_flops": flip_flops,
            "gates": sum(cells.values()) - flip_flops - total(_NO_LOGIC),
        }
        if "area" in design:
            figures["area_um2"] = float(design["area"])
        return figures
    return {kind: total(pattern) for kind, pattern in _CELL_KINDS.items()}
