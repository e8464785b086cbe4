"""Accelerators by name or from a TOML file; every error is one line that names the field."""

import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hwq.arch.accelerator import Accelerator
from hwq.errors import DataError, SpecError, UsageError

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
        hint = _nearest(str(name_or_path), known)
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
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{file}: not valid TOML: {error}") from error
    try:
        return Accelerator.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{file}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The most telling of pydantic's complaints; a misspelt key also leaves one missing."""
    complaints = error.errors(include_url=False)
    first = min(complaints, key=lambda complaint: complaint["type"] != "extra_forbidden")
    location, kind = first["loc"], first["type"]
    field = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        siblings = _fields_at(location[:-1])
        hint = _nearest(str(location[-1]), siblings) or f"; known: {', '.join(siblings)}"
        return f"unknown key {field!r}{hint}"
    if kind == "missing":
        return f"{field} is missing"
    message = first["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{field}.{message}" if field else message
    bound = re.sub(r"^\w+ should", "must", message)
    return f"{field} {bound}, not {first['input']!r}"


def _fields_at(location: Iterable[int | str]) -> list[str]:
    model: type[BaseModel] = Accelerator
    for part in location:
        annotation: Any = model.model_fields[str(part)].annotation
        candidates = (annotation, *get_args(annotation))
        model = next(item for item in candidates if _is_model(item))
    return list(model.model_fields)


def _is_model(item: object) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
