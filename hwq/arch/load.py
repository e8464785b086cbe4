"""Accelerators by name or from a TOML file; every error is one line that names the field."""

import tomllib
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from hwq.arch.accelerator import Accelerator
from hwq.errors import DataError, SpecError, UsageError
from hwq.schema import explain, nearest

_PRESETS = resources.files("hwq.arch") / "presets"


def list_accelerators() -> tuple[str, ...]:
    """Names of the presets: the files `hwq/arch/presets/NAME.toml`."""
    files = (entry.name for entry in _PRESETS.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


def load_accelerator(name_or_path: str | Path) -> Accelerator:
    """Load a preset by its name, or a file by its path (anything with a suffix or a separator).

    Raises
    ------
    UsageError
        No preset has this name; the known ones are listed.
    DataError
        The file cannot be read or is not TOML.
    SpecError
        A field is unknown, missing or out of range; file, field, value and bound are named.
    """
    path = Path(name_or_path)
    if path.suffix or path.parent != Path() or isinstance(name_or_path, Path):
        return _parse(_read(path), str(path))
    known = list_accelerators()
    if name_or_path not in known:
        hint = nearest(str(name_or_path), known)
        raise UsageError(
            f"unknown accelerator {name_or_path!r}{hint}; known: {', '.join(known)}, "
            "or give the path of a .toml file"
        )
    file = f"{name_or_path}.toml"
    return _parse((_PRESETS / file).read_text(encoding="utf-8"), file)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file ({error.reason})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(text: str, file: str) -> Accelerator:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number of thousands of digits
        raise DataError(f"{file}: not valid TOML: {error}") from error
    try:
        return Accelerator.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{file}: {explain(error, Accelerator)}") from error
