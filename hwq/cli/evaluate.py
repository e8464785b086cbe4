"""`hwq evaluate`: the accuracy of several methods and widths in one table."""

import argparse
from pathlib import Path
from typing import Any

from hwq.cli.arguments import METHOD_HELP, add_request, check_outputs, names, to_request, tracker
from hwq.errors import UsageError
from hwq.request import EVALUATE


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "evaluate",
        help="accuracy of several methods and widths, in float, fake-quant and integers",
        description="Fits every method at every width. With --work what was fitted and measured "
        "is kept, and the same command goes on after a stop.",
    )
    add = parser.add_argument
    add_request(
        add,
        EVALUATE,
        needed=("data",),
        pair="METHOD.NAME",
        work="folder for calibrated files and rows",
    )
    add(
        "--methods",
        type=names,
        default=[],
        metavar="A,B",
        help=f"{METHOD_HELP}; scalepredictor@BASE for a base",
    )
    add("--bits", type=names, default=["w8a8"], metavar="W8A8,...", help="widths (default w8a8)")
    add("--checkpoint", type=Path, nargs="+", default=[], metavar="FILE", help="calibrated files")
    add("--integers", action="store_true", help="run the integer networks of the files alone")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON")
    add("--csv", type=Path, metavar="FILE", help="write the rows, anew after each")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, telling every row as soon as it is known."""
    check_outputs(arguments.json, arguments.csv)
    request = to_request(arguments, EVALUATE)
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api
        from hwq.report import evaluation as report

    rows: list[report.EvaluationRow] = []

    def on_row(row: report.EvaluationRow) -> None:
        rows.append(row)
        report.print_row(row, console)
        if arguments.csv is not None:
            report.write_evaluation_csv(rows, arguments.csv)

    track = tracker(console)
    if arguments.integers:
        if arguments.methods:
            raise UsageError("integers and methods exclude each other: files are run alone")
        table = api.evaluate_integers(request, arguments.checkpoint, on_row, track)
    else:
        files = arguments.checkpoint
        table = api.evaluate(request, arguments.methods, arguments.bits, files, on_row, track)
    report.print_evaluation(table)
    if arguments.json is not None:
        report.write_evaluation_json(table, arguments.json)
