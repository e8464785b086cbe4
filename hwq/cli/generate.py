"""`hwq generate`: a whole accelerator as Verilog, with a network that any simulator runs."""

import argparse
from pathlib import Path
from typing import Any

from hwq.cli.arguments import add_request, to_request, tracker
from hwq.request import COSIMULATE


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "generate",
        help="write a whole accelerator as Verilog, with a network that it runs",
        description="Writes the accelerator's Verilog, waivers for Verilator's lint, constraints "
        "(SDC) and a page about ports, records and buffers. With --model or --checkpoint also "
        "the network's memories, its results, and a bench that needs nothing but a Verilog "
        "simulator. README.md says what to do with them. The same command writes the same bytes.",
    )
    add = parser.add_argument
    add_request(add, COSIMULATE)
    add("--image", type=Path, metavar="FILE", help="(default: the first calibration image)")
    add("--out", type=Path, metavar="DIR", required=True, help="a new or an empty folder")
    add("--axi", action="store_true", help="add a wrapper with the names of AXI-Stream")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the files and name them."""
    request = to_request(arguments, COSIMULATE)
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api

    track = tracker(console)
    for path in api.generate(request, arguments.out, arguments.image, arguments.axi, track):
        print(path)
