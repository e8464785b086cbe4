"""Synthesis results as rows, and as a CSV file."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from amaranth import __version__ as amaranth_version

from hwq.rtl.synthesis.designs import Design
from hwq.rtl.synthesis.flows import Flow, synthesize
from hwq.rtl.synthesis.place import SEEDS, fmax_mhz
from hwq.rtl.synthesis.switching import switching
from hwq.rtl.synthesis.tools import NEXTPNR, YOSYS, find_icarus, icarus_version, wheel_version

COLUMNS: Final = (
    *("block", "name", "parameters", "target", "recipe"),
    *("lut", "flip_flops", "dsp", "block_ram", "lut_ram", "carry"),
    *("fmax_mhz", "fmax_seeds", "gates", "memory_bits"),
    *("area_um2", "zero_delay_pj", "glitch_pj", "tools"),
)
"""Counts of cells; a cell is empty where the target has no such thing or it was not measured."""

Row = dict[str, str]


def measure(design: Design, flow: Flow) -> Row:
    """Synthesise one design by one flow, in a folder of its own that does not stay.

    On ECP5 with DSPs the clock is measured as well; of a processing element on osu018 also the
    switching energy of a cycle, if Icarus Verilog is there.
    """
    tools = [f"amaranth {amaranth_version}", wheel_version(YOSYS)]
    with TemporaryDirectory(prefix="hwq_synth_") as place:
        folder = Path(place)
        figures = synthesize(flow, design.name, design.verilog(), folder)
        if flow.target == "ecp5" and flow.recipe == "dsp":
            figures["fmax_mhz"] = fmax_mhz(flow, design.name, folder)
            figures["fmax_seeds"] = len(SEEDS)
            tools.append(wheel_version(NEXTPNR))
        if flow.is_cells and design.block == "pe" and find_icarus():
            energy = switching(design.name, folder, design.held)
            figures |= {"zero_delay_pj": energy.zero_delay_pj, "glitch_pj": energy.glitch_pj}
            tools.append(icarus_version())
    row = {
        "block": design.block,
        "name": design.name,
        "parameters": design.parameters,
        "target": flow.target,
        "recipe": flow.recipe,
        **{name: figure_text(value) for name, value in figures.items()},
        "tools": "; ".join(filter(None, tools)),
    }
    return {column: row.get(column, "") for column in COLUMNS}


def csv_text(rows: Iterable[Row], columns: Iterable[str] = COLUMNS) -> str:
    """Return rows under a line of column names."""
    file = io.StringIO()
    writer = csv.DictWriter(file, tuple(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def figure_text(value: float) -> str:
    """Four digits of a measurement; counts and areas whole."""
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"
