"""`hwq synth`: what units, processing elements and whole accelerators cost in logic."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hwq.cli.arguments import check_outputs
from hwq.errors import UsageError
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
_SHOWN_OF_PARTS = {
    "part": "part",
    "count": "count",
    "target": "target",
    "recipe": "recipe",
    "lut": "LUT",
    "carry": "carry",
    "flip_flops": "FF",
    "dsp": "DSP",
    "fmax_mhz": "MHz",
    "gates": "gates",
    "area_um2": "um2",
    "memory_bits": "memory bits",
}


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "synth",
        help="synthesise units, processing elements, accelerators: LUTs, clock, area, energy",
        description="Open tools only: Yosys for iCE40, ECP5, Xilinx 7, generic gates and osu018 "
        "cells, nextpnr for the clock on an ECP5. Needs the extra `synth`.",
    )
    add = parser.add_argument
    add("--unit", nargs="+", default=[], metavar="NAME", help="units and kinds of PE (default all)")
    add(
        "--accelerator",
        metavar="NAME|FILE",
        help="instead of units, every kind of module of this accelerator, and how many there are "
        "(targets ecp5, osu018, which are the default, and gates)",
    )
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
    if arguments.unit and arguments.accelerator:
        raise UsageError("give units or an accelerator, not both")
    from rich.console import Console
    from rich.table import Table

    from hwq.rtl.synthesis.table import COLUMNS, csv_text
    from hwq.rtl.synthesis.whole_table import COLUMNS as COLUMNS_OF_PARTS

    console = Console(stderr=True)
    columns: tuple[str, ...] = COLUMNS
    shown, made = _SHOWN, _of_units
    if arguments.accelerator:
        columns, shown, made = COLUMNS_OF_PARTS, _SHOWN_OF_PARTS, _of_parts
    rows = []
    for row in made(arguments, console):
        rows.append(row)
        if arguments.csv is not None:
            write_text(arguments.csv, csv_text(rows, columns))
    table = Table(box=None)
    for column, title in shown.items():
        table.add_column(title, justify="left" if column == title else "right")
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    Console(width=None if console.is_terminal else 150).print(table)


def _of_units(arguments: argparse.Namespace, console: Any) -> Iterator[dict[str, str]]:
    """Yield a row for every unit and flow."""
    from rich.progress import track

    from hwq.rtl.synthesis.designs import designs
    from hwq.rtl.synthesis.flows import flows
    from hwq.rtl.synthesis.table import measure

    chosen = designs(arguments.unit)
    ways = runnable(flows(arguments.target, arguments.recipe), bool(arguments.target), console)
    jobs = [(design, flow) for design in chosen for flow in ways]
    for design, flow in track(jobs, "synthesis", console=console, transient=True):
        yield measure(design, flow)


def _of_parts(arguments: argparse.Namespace, console: Any) -> Iterator[dict[str, str]]:
    """Yield a row for every kind of module and flow, and one for the sum."""
    from hwq.arch.load import load_accelerator
    from hwq.rtl.synthesis.whole_table import chosen_flows, whole_rows

    machine = load_accelerator(arguments.accelerator)
    chosen = chosen_flows(arguments.target, arguments.recipe)
    for flow in runnable(chosen, bool(arguments.target), console):
        with console.status(f"synthesis of {machine.name} for {flow.target}"):
            yield from whole_rows(machine, flow)


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
