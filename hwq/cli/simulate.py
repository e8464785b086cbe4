"""`hwq simulate`: accuracy in integers, cycles and energy of one network on one accelerator."""

import argparse
from pathlib import Path
from typing import Any

from hwq.arch.kinds import TIMINGS
from hwq.cli.arguments import (
    CALIB_HELP,
    METHOD_HELP,
    add_device,
    add_network,
    calibration_source,
    check_outputs,
    check_weights,
    options,
    tracker,
)
from hwq.numerics.array import DATAFLOWS


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "simulate",
        help="quantise a network, run it in integers, cost it on an accelerator",
        description="Works without weights, images and network: cycles and energy are exact for "
        "the shapes; accuracy is measured when --weights, --calib and --data are given.",
    )
    add = parser.add_argument
    add_network(add, needed=False)
    add("--method", help=METHOD_HELP)
    add("--checkpoint", type=Path, metavar="FILE", help="calibrated file, instead of a method")
    add("--base", help="the method that scalepredictor makes dynamic (default repq_vit)")
    add("--bits", help="code widths, w2a2 to w8a8 (default w8a8)")
    add("--accelerator", default="edge_32x32", help="preset or TOML file (default %(default)s)")
    add("--dataflow", choices=("auto", *DATAFLOWS), help="instead of the accelerator's own")
    add("--timing", choices=TIMINGS, help="instead of the accelerator's own")
    add("--calib", type=calibration_source, metavar="DIR", help=CALIB_HELP)
    add("--data", type=Path, metavar="DIR", help="wnid folders of images to measure accuracy on")
    add("--limit", type=int, metavar="N", help="measure accuracy on the first N images")
    add("--picture", type=Path, metavar="FILE", help="show its likeliest classes in each network")
    add("--seed", type=int, help="(default 0)")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="field of the method")
    add_device(add)
    add("--work", type=Path, metavar="DIR", help="folder for what a stopped fit can go on from")
    add("--resume", action="store_true", help="go on with what the work folder holds")
    add("--json", type=Path, metavar="FILE", help="write the result as JSON")
    add("--csv", type=Path, metavar="FILE", help="write a row per layer")
    add("--html", type=Path, metavar="FILE", help="write a page with charts")
    add("--trace", type=Path, metavar="FILE", help="write a trace for Perfetto")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Simulate and report."""
    check_outputs(arguments.json, arguments.csv, arguments.html, arguments.trace)
    check_weights(arguments)
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
        checkpoint=arguments.checkpoint,
        base=arguments.base,
        bits=arguments.bits,
        accelerator=arguments.accelerator,
        dataflow=arguments.dataflow,
        timing=arguments.timing,
        weights=arguments.weights,
        pretrained=arguments.pretrained,
        resample_pos_embed=arguments.resample_pos_embed,
        calib=arguments.calib,
        data=arguments.data,
        limit=arguments.limit,
        picture=arguments.picture,
        seed=arguments.seed,
        options=options(arguments.option),
        device=arguments.device,
        work=arguments.work,
        resume=arguments.resume,
        track=tracker(console),
    )
    print_table(result)
    writers = {"json": write_json, "csv": write_csv, "html": write_html, "trace": write_trace}
    for name, write in writers.items():
        path = getattr(arguments, name)
        if path is not None:
            write(result, path)
