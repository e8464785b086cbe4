"""`hwq simulate`: accuracy in integers, cycles and energy of one network on one accelerator."""

import argparse
from pathlib import Path
from typing import Any

from hwq.cli.arguments import add_request, check_outputs, to_request, tracker
from hwq.request import SIMULATE


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "simulate",
        help="quantise a network, run it in integers, cost it on an accelerator",
        description="Works without weights, images and network: cycles and energy are exact for "
        "the shapes; accuracy is measured when --weights, --calib and --data are given.",
    )
    add = parser.add_argument
    add_request(add, SIMULATE)
    add("--json", type=Path, metavar="FILE", help="write the result as JSON")
    add("--csv", type=Path, metavar="FILE", help="write a row per layer")
    add("--html", type=Path, metavar="FILE", help="write a page with charts")
    add("--trace", type=Path, metavar="FILE", help="write a trace for Perfetto")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Simulate and report."""
    check_outputs(arguments.json, arguments.csv, arguments.html, arguments.trace)
    request = to_request(arguments, SIMULATE)
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api
        from hwq.report.to_csv import write_csv
        from hwq.report.to_html import write_html
        from hwq.report.to_json import write_json
        from hwq.report.to_table import print_table
        from hwq.report.to_trace import write_trace

    result = api.simulate(request, tracker(console))
    print_table(result)
    writers = {"json": write_json, "csv": write_csv, "html": write_html, "trace": write_trace}
    for name, write in writers.items():
        path = getattr(arguments, name)
        if path is not None:
            write(result, path)
