"""`hwq list`: the names that the other verbs take, and which networks can be imported."""

import argparse
import csv
import io
import json
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hwq.cli.arguments import check_outputs
from hwq.errors import UsageError
from hwq.files import write_text


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "list",
        help="names of models, methods, accelerators and units",
        description="With --check every model that the pattern matches is imported, two blocks "
        "deep, and compared with its module; docs/models.md is made so.",
    )
    kinds = ("models", "methods", "accelerators", "quantizers", "units")
    add = parser.add_argument
    add("what", choices=kinds)
    add("pattern", nargs="?", default="*", help="of names, as a shell's: 'deit_*'")
    add("--check", action="store_true", help="try to import the models")
    add("--json", type=Path, metavar="FILE", help="write what --check found, anew after each")
    add("--csv", type=Path, metavar="FILE", help="the same as CSV")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print one name per line."""
    if arguments.check:
        _check(arguments)
        return
    if arguments.json is not None or arguments.csv is not None:
        raise UsageError("json and csv need check: names alone are printed")
    for name in _names(arguments.what):
        if fnmatch(name, arguments.pattern):
            print(name)


def _check(arguments: argparse.Namespace) -> None:
    """Print a row per model as soon as it is known."""
    if arguments.what != "models":
        raise UsageError(f"check is for models, not {arguments.what}")
    check_outputs(arguments.json, arguments.csv)
    from rich.console import Console

    from hwq.api.model_check import check_models, checked_names

    console = Console(stderr=True)
    names = checked_names(arguments.pattern)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(check_models(names), start=1):
        rows.append(asdict(row))
        because = f": {row.because}" if row.because else ""
        print(f"{row.name} {row.outcome}{because} ({row.seconds:.1f} s)", flush=True)
        if console.is_terminal:
            console.print(f"{number} of {len(names)}", style="dim")
        if arguments.json is not None:
            write_text(arguments.json, json.dumps(rows, indent=2) + "\n")
        if arguments.csv is not None:
            write_text(arguments.csv, _csv(rows))


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _names(what: str) -> list[str]:
    if what == "models":
        from hwq.models.catalog import list_models

        return list_models()
    if what == "methods":
        from hwq.methods.catalog import METHODS

        return list(METHODS)
    if what == "quantizers":
        from hwq.quantizers.catalog import QUANTIZERS

        return list(QUANTIZERS)
    if what == "units":
        from hwq.rtl.catalog import TWINS

        return list(TWINS)
    from hwq.arch.load import list_accelerators

    return list(list_accelerators())
