"""What a whole accelerator is made of, as rows: one for each kind of module, and their sum."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from amaranth import __version__ as amaranth_version

from hwq.arch.accelerator import Accelerator
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.synthesis.cut import part_mhz
from hwq.rtl.synthesis.flows import Flow, flows
from hwq.rtl.synthesis.liberty import read_cells
from hwq.rtl.synthesis.path import path_ns
from hwq.rtl.synthesis.table import Row, figure_text
from hwq.rtl.synthesis.tools import NEXTPNR, YOSYS, cell_file, wheel_version
from hwq.rtl.synthesis.whole import design_text, parts, read_modules, total

COLUMNS: Final = (
    *("accelerator", "part", "count", "target", "recipe", "lut", "carry", "flip_flops", "dsp"),
    *("gates", "area_um2", "path_ns", "memory_bits", "fmax_mhz", "fmax_seeds", "tools"),
)
"""Figures are those of one part, without the parts in it; the last row of a flow is the sum."""
TOTAL: Final = "total"
SEEDS: Final = (1,)
"""Of the placer: a part is placed once, as there are sixty."""


def chosen_flows(targets: list[str], recipes: list[str]) -> list[Flow]:
    """Return the flows of an accelerator: by default the first recipe of ecp5 and of osu018.

    Raises
    ------
    UsageError
        For an unknown name, or a target that has no such flow.
    """
    asked = flows(targets or ["ecp5", "osu018"], recipes)
    if recipes:
        return asked
    first = {flow.target: flow for flow in reversed(asked)}
    return list(first.values())[::-1]


def whole_rows(machine: Accelerator, flow: Flow) -> Iterator[Row]:
    """Yield a row for each kind of module as soon as it is known, then the sum.

    On ECP5 with DSPs the clock of every part that has logic is measured as well, of cells the
    longest path.
    """
    text = design_text(AcceleratorGateware(machine))
    with TemporaryDirectory(prefix="hwq_synth_") as place:
        folder = Path(place)
        found = parts(flow, text, folder)
        places = flow.target == "ecp5" and flow.recipe == "dsp"
        modules = read_modules(folder) if places or flow.is_cells else {}
        library = read_cells(cell_file("lib").read_text("utf-8")) if flow.is_cells else {}
        for part in found:
            figures = dict(part.figures)
            mhz = None
            if places and figures["lut"] + figures["carry"]:
                mhz = part_mhz(flow, modules, part.module, SEEDS)
            if mhz is not None:
                figures |= {"fmax_mhz": mhz, "fmax_seeds": len(SEEDS)}
            if flow.is_cells:
                figures["path_ns"] = path_ns(modules[part.module], library)
            yield _row(machine, flow, (part.name, part.count), figures)
    yield _row(machine, flow, (TOTAL, 1), total(found))


def _row(
    machine: Accelerator, flow: Flow, part: tuple[str, int], figures: Mapping[str, float]
) -> Row:
    tools = [f"amaranth {amaranth_version}", wheel_version(YOSYS)]
    if "fmax_mhz" in figures:
        tools.append(wheel_version(NEXTPNR))
    row = {
        "accelerator": machine.name,
        "part": part[0],
        "count": str(part[1]),
        "target": flow.target,
        "recipe": flow.recipe,
        **{name: figure_text(value) for name, value in figures.items()},
        "tools": "; ".join(tools),
    }
    return {column: row.get(column, "") for column in COLUMNS}
