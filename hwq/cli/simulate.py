"""`hwq simulate`: accuracy in integers, cycles and energy of one network on one accelerator."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hwq.arch.kinds import DATAFLOWS, TIMINGS
from hwq.errors import DataError, UsageError


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "simulate",
        help="quantise a network, run it in integers, cost it on an accelerator",
        description="Works without weights, images and network: cycles and energy are exact for "
        "the shapes; accuracy is measured when --weights, --calib and --data are given.",
    )
    add = parser.add_argument
    add("--model", required=True, help="deit_t, deit_s, vit_b, a timm name, or module:function")
    add("--method", required=True, help="PTQ method; see `hwq list methods`")
    add("--base", help="the method that scalepredictor makes dynamic (default repq_vit)")
    add("--bits", default="w8a8", help="code widths, w2a2 to w8a8 (default %(default)s)")
    add("--accelerator", default="edge_32x32", help="preset or TOML file (default %(default)s)")
    add("--dataflow", choices=("auto", *DATAFLOWS), help="instead of the accelerator's own")
    add("--timing", choices=TIMINGS, help="instead of the accelerator's own")
    add("--weights", type=Path, metavar="FILE", help="checkpoint (.safetensors, or torch)")
    add("--pretrained", action="store_true", help="fetch timm's weights")
    add("--calib", type=Path, metavar="DIR", help="images to calibrate on")
    add("--data", type=Path, metavar="DIR", help="wnid folders of images to measure accuracy on")
    add("--limit", type=int, metavar="N", help="measure accuracy on the first N images")
    add("--seed", type=int, default=0, help="(default %(default)s)")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="field of the method")
    add("--json", type=Path, metavar="FILE", help="write the result as JSON")
    add("--csv", type=Path, metavar="FILE", help="write a row per layer")
    add("--html", type=Path, metavar="FILE", help="write a page with charts")
    add("--trace", type=Path, metavar="FILE", help="write a trace for Perfetto")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Simulate and report."""
    for path in (arguments.json, arguments.csv, arguments.html, arguments.trace):
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"cannot write {path}: no such folder")
    if arguments.weights is not None and arguments.pretrained:
        raise UsageError("weights and pretrained exclude each other")
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api
        from hwq.report.to_csv import write_csv
        from hwq.report.to_html import write_html
        from hwq.report.to_json import write_json
        from hwq.report.to_table import print_table
        from hwq.report.to_trace import write_trace

    result = api.simulate(
        arguments.model,
        arguments.method,
        base=arguments.base,
        bits=arguments.bits,
        accelerator=arguments.accelerator,
        dataflow=arguments.dataflow,
        timing=arguments.timing,
        weights=arguments.weights,
        pretrained=arguments.pretrained,
        calib=arguments.calib,
        data=arguments.data,
        limit=arguments.limit,
        seed=arguments.seed,
        options=_options(arguments.option),
        track=_tracker(console),
    )
    print_table(result)
    writers = {"json": write_json, "csv": write_csv, "html": write_html, "trace": write_trace}
    for name, write in writers.items():
        path = getattr(arguments, name)
        if path is not None:
            write(result, path)


def _options(pairs: Iterable[str]) -> dict[str, Any]:
    """Read NAME=VALUE, with a number where the value is one."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"option must look like name=value, not {pair!r}")
        options[name] = _number(text)
    return options


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _tracker(console: Any) -> Any:
    """Return a `Track` that draws on stderr."""

    def track(items: Iterable[Any], what: str, count: int) -> Iterator[Any]:
        from rich.progress import track as rich_track

        yield from rich_track(items, description=what, total=count, console=console, transient=True)

    return track
