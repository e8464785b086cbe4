"""`hwq calibrate`: quantise a network and write it to one file."""

import argparse
from pathlib import Path
from typing import Any

from hwq.cli.arguments import add_request, check_outputs, to_request, tracker
from hwq.request import CALIBRATE


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "calibrate",
        help="quantise a network and write it to one file",
        description="The file is what `hwq simulate` and `hwq evaluate` take as --checkpoint. "
        "What is done is kept in a work folder: after a stop, --resume goes on from there.",
    )
    add = parser.add_argument
    add_request(
        add,
        CALIBRATE,
        needed=("model", "method"),
        work="work folder, which stays (default OUT.work)",
    )
    add("--out", type=Path, metavar="FILE", required=True, help="the .safetensors file to write")
    add("--save-images", type=Path, metavar="FILE", help="write the images' pixels, for --calib")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Calibrate and say what was written."""
    check_outputs(arguments.out, arguments.save_images)
    request = to_request(arguments, CALIBRATE)
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api

    fitted = api.calibrate(request, arguments.out, arguments.save_images, tracker(console))
    for note in fitted.calibrated.quantized.notes:
        print(f"note: {note}")
    print(f"wrote {arguments.out}: calibrated in {fitted.seconds:.1f} s")
