"""What several verbs share: options of the network, of methods, and progress on stderr."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hwq.errors import DataError, UsageError
from hwq.methods.catalog import METHODS

METHOD_HELP = f"PTQ method: {', '.join(METHODS)}"
CALIB_HELP = "images to calibrate on: a folder, a .safetensors of pixels, or the word psaq"


def calibration_source(text: str) -> Path | str:
    """Read --calib: the word psaq (images synthesised from the network), or a path."""
    return text if text == "psaq" else Path(text)


def add_network(add: Callable[..., Any], needed: bool = True) -> None:
    """Add the options that name the float network."""
    add("--model", required=needed, help="deit_t, deit_s, vit_b, a timm name, or module:function")
    add("--weights", type=Path, metavar="FILE", help="checkpoint (.safetensors, or torch)")
    add("--pretrained", action="store_true", help="fetch timm's weights")
    add("--resample_pos_embed", action="store_true", help="fit a position table of another grid")


def add_device(add: Callable[..., Any]) -> None:
    """Add --device."""
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where torch runs")


def check_outputs(*paths: Path | None) -> None:
    """Raise `DataError` for a file that could not be written, before the work is done."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"cannot write {path}: no such folder")
        if path is not None and path.is_dir():
            raise DataError(f"cannot write {path}: it is a folder")


def check_weights(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for weights from two places."""
    if arguments.weights is not None and arguments.pretrained:
        raise UsageError("weights and pretrained exclude each other")


def options(pairs: Iterable[str]) -> dict[str, Any]:
    """Read NAME=VALUE, with a number where the value is one."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"option must look like name=value, not {pair!r}")
        found[name] = _number(text)
    return found


def names(text: str) -> list[str]:
    """Read names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def tracker(console: Any) -> Any:
    """Return a `Track` that draws on stderr."""

    def track(items: Iterable[Any], what: str, count: int) -> Iterator[Any]:
        from rich.progress import track as rich_track

        yield from rich_track(items, description=what, total=count, console=console, transient=True)

    return track


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
