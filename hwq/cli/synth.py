"""`hwq synth`: what units and processing elements cost in logic."""

import argparse
from pathlib import Path
from typing import Any

from hwq.cli.arguments import check_outputs
from hwq.files import write_text

_SHOWN = {
    "name": "name",
    "parameters": "parameters",
    "target": "target",
    "recipe": "recipe",
    "lut": "LUT",
    "flip_flops": "FF",
    "dsp": "DSP",
    "fmax_mhz": "MHz",
    "gates": "gates",
    "area_um2": "um2",
    "zero_delay_pj": "pJ",
    "glitch_pj": "pJ, glitches",
}


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "synth",
        help="synthesise units and processing elements: LUTs, clock, area, switching energy",
        description="Open tools only: Yosys for iCE40, ECP5, Xilinx 7, generic gates and osu018 "
        "cells, nextpnr for the clock on an ECP5. Needs the extra `synth`.",
    )
    add = parser.add_argument
    add("--unit", nargs="+", default=[], metavar="NAME", help="units and kinds of PE (default all)")
    add("--target", nargs="+", default=[], metavar="NAME", help="ice40 ecp5 xc7 gates osu018")
    add(
        *("--recipe", "--recipes"),
        nargs="+",
        default=[],
        metavar="NAME",
        help="dsp no_dsp (FPGA), default booth (gates, cells), noalumacc area booth_area (cells)",
    )
    add("--csv", type=Path, metavar="FILE", help="write the rows, anew after each")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Synthesise, keeping every row as soon as it is known, and print the table."""
    check_outputs(arguments.csv)
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from hwq.rtl.synthesis.designs import designs
    from hwq.rtl.synthesis.flows import flows
    from hwq.rtl.synthesis.table import csv_text, measure

    console = Console(stderr=True)
    chosen = designs(arguments.unit)
    ways = runnable(flows(arguments.target, arguments.recipe), bool(arguments.target), console)
    rows = []
    jobs = [(design, flow) for design in chosen for flow in ways]
    for design, flow in track(jobs, "synthesis", console=console, transient=True):
        rows.append(measure(design, flow))
        if arguments.csv is not None:
            write_text(arguments.csv, csv_text(rows))
    table = Table(box=None)
    for column, title in _SHOWN.items():
        table.add_column(title, justify="left" if column == title else "right")
    for row in rows:
        table.add_row(*(row[column] for column in _SHOWN))
    Console(width=None if console.is_terminal else 150).print(table)


def runnable(flows: list[Any], asked: bool, console: Any) -> list[Any]:
    """Return the flows whose tools are there; those of a target asked for by name must be."""
    from hwq.rtl.synthesis.tools import YOSYS, cell_file, find_cells, find_icarus, require_wheel

    require_wheel(YOSYS)
    if find_cells() is None and any(flow.is_cells for flow in flows):
        if asked:
            cell_file("lib")
        console.print("osu018 is left out: no qflow-tech-osu018 is installed")
        flows = [flow for flow in flows if not flow.is_cells]
    if any(flow.is_cells for flow in flows) and not find_icarus():
        console.print("switching energy is left out: no iverilog is installed")
    return flows
