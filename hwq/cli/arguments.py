"""What several verbs share: options from the fields of a request, and progress on stderr."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from hwq.arch.kinds import TIMINGS
from hwq.errors import DataError, UsageError
from hwq.methods.catalog import METHODS
from hwq.numerics.array import DATAFLOWS
from hwq.request import Request

METHOD_HELP: Final = f"PTQ method: {', '.join(METHODS)}"
_HELP: Final[Mapping[str, str]] = {
    "model": "deit_t, deit_s, vit_b, a timm name, or module:function",
    "weights": "checkpoint (.safetensors, or torch)",
    "pretrained": "fetch timm's weights",
    "resample_pos_embed": "fit a position table of another grid",
    "method": METHOD_HELP,
    "base": "the method that scalepredictor makes dynamic (default repq_vit)",
    "bits": "code widths, w2a2 to w8a8 (default w8a8)",
    "options": "field of the method",
    "calib": "images to calibrate on: a folder, a .safetensors of pixels, or the word psaq",
    "seed": "(default 0)",
    "device": "where torch runs",
    "work": "folder for what a stopped fit can go on from",
    "resume": "go on with what the work folder holds",
    "checkpoint": "calibrated file, instead of a method",
    "accelerator": "preset or TOML file (default %(default)s)",
    "dataflow": "instead of the accelerator's own",
    "timing": "instead of the accelerator's own",
    "data": "wnid folders of images to measure accuracy on",
    "limit": "measure accuracy on the first N images",
    "picture": "show its likeliest classes in each network",
}
_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "device": ("cpu", "cuda"),
    "dataflow": ("auto", *DATAFLOWS),
    "timing": TIMINGS,
}
_FOLDERS: Final = ("calib", "work", "data")


def add_request(
    add: Callable[..., Any],
    names: Iterable[str],
    needed: Iterable[str] = (),
    pair: str = "NAME",
    **told: str,
) -> None:
    """Add an option for every field of a request that a verb takes.

    Parameters
    ----------
    add : callable
        `add_argument` of the verb's parser.
    names, needed : iterable of str
        Fields of `hwq.request.Request`, and those of them that must be given.
    pair : str
        How the name of a method's option is written.
    **told : str
        Help of fields that mean something else to a verb.
    """
    kinds = get_type_hints(Request)
    for field in fields(Request):
        if field.name in names:
            flag, option = _option(field, kinds[field.name], f"{pair}=VALUE")
            if field.name in needed:
                option["required"] = True
            add(flag, dest=field.name, help=told.get(field.name, _HELP[field.name]), **option)


def _option(field: Field[Any], kind: Any, pair: str) -> tuple[str, dict[str, Any]]:
    """Return the flag of a field, and how argparse reads it."""
    flag, types = f"--{field.name}", (*get_args(kind), kind)
    if field.name == "options":
        return "--option", {"action": "append", "default": [], "metavar": pair}
    if kind is bool:
        return flag, {"action": "store_true"}
    option: dict[str, Any] = {"default": field.default}
    if field.name in _CHOICES:
        option["choices"] = _CHOICES[field.name]
    elif field.name == "calib":
        option["type"] = calibration_source
    elif int in types:
        option |= {"type": int, "metavar": "N"}
    elif Path in types and str not in types:
        option["type"] = Path
    if Path in types and field.name != "accelerator":
        option["metavar"] = "DIR" if field.name in _FOLDERS else "FILE"
    return flag, option


def calibration_source(text: str) -> Path | str:
    """Read where calibration images come from: the word psaq (synthesised), or a path."""
    return text if text == "psaq" else Path(text)


def to_request(arguments: argparse.Namespace, names: Iterable[str]) -> Request:
    """Return what the arguments ask for in the fields of these names."""
    given = {name: getattr(arguments, name) for name in names}
    return Request(**{**given, "options": options(given["options"])})


def check_outputs(*paths: Path | None) -> None:
    """Raise `DataError` for a file that could not be written, before the work is done."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"cannot write {path}: no such folder")
        if path is not None and path.is_dir():
            raise DataError(f"cannot write {path}: it is a folder")


def options(pairs: Iterable[str]) -> dict[str, Any]:
    """Read NAME=VALUE, with a number where the value is one."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"option must look like name=value, not {pair!r}")
        values[name] = _number(text)
    return values


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
