"""`hwq calibrate`: quantise a network and write it to one file."""

import argparse
from pathlib import Path
from typing import Any

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


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "calibrate",
        help="quantise a network and write it to one file",
        description="The file is what `hwq simulate` and `hwq evaluate` take as --checkpoint. "
        "What is done is kept in a work folder: after a stop, --resume goes on from there.",
    )
    add = parser.add_argument
    add_network(add)
    add("--method", required=True, help=METHOD_HELP)
    add("--base", help="the method that scalepredictor makes dynamic (default repq_vit)")
    add("--bits", default="w8a8", help="code widths, w2a2 to w8a8 (default %(default)s)")
    add("--calib", type=calibration_source, metavar="DIR", help=CALIB_HELP)
    add("--out", type=Path, metavar="FILE", required=True, help="the .safetensors file to write")
    add("--save-images", type=Path, metavar="FILE", help="write the images' pixels, for --calib")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="field of the method")
    add("--seed", type=int, default=0, help="(default %(default)s)")
    add_device(add)
    add("--work", type=Path, metavar="DIR", help="work folder, which stays (default OUT.work)")
    add("--resume", action="store_true", help="go on with what the work folder holds")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Calibrate and say what was written."""
    check_outputs(arguments.out, arguments.save_images)
    check_weights(arguments)
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api

    fitted = api.calibrate(
        arguments.model,
        arguments.method,
        out=arguments.out,
        base=arguments.base,
        bits=arguments.bits,
        weights=arguments.weights,
        pretrained=arguments.pretrained,
        resample_pos_embed=arguments.resample_pos_embed,
        calib=arguments.calib,
        seed=arguments.seed,
        options=options(arguments.option),
        device=arguments.device,
        work=arguments.work,
        resume=arguments.resume,
        images=arguments.save_images,
        track=tracker(console),
    )
    for note in fitted.calibrated.quantized.notes:
        print(f"note: {note}")
    print(f"wrote {arguments.out}: calibrated in {fitted.seconds:.1f} s")
