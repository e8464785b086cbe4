"""`hwq cache`: what is kept between runs, and how to be rid of it."""

import argparse
import shutil
from pathlib import Path
from typing import Any, Final

from hwq.cache import cache_root
from hwq.errors import DataError

KINDS: Final = {
    "kernels": "compiled integer kernels",
    "graphs": "imported networks",
    "sim": "simulators of the gateware",
}


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "cache",
        help="what is kept between runs: show or clear it",
        description="All of it is named after what it was made of, and made again when it is gone.",
    )
    parser.add_argument("--clear", action="store_true", help="remove it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print a line per kind, and remove all where that is asked for."""
    print(cache_root())
    for kind, words in KINDS.items():
        folder = cache_root() / kind
        files = [path for path in folder.rglob("*") if path.is_file()]
        mebibytes = sum(_size(path) for path in files) / (1 << 20)
        print(f"{kind:8} {len(files):6} files {mebibytes:8.1f} MiB  {words}")
        if arguments.clear and folder.exists():
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise DataError(f"cache {folder}: {error.strerror}") from error
    if arguments.clear:
        print("cleared")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # another process has removed it
        return 0
