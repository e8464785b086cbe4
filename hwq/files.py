"""Files that are there whole or not at all, and JSON that is JSON."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hwq.errors import DataError


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8; see `write_bytes`.

    What cannot be encoded, a byte of an argument that is no UTF-8, is written as its escape.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename it.

    Raises
    ------
    DataError
        If the file cannot be written; what was at `path` before is still there.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.chmod(_mode(path))
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def check_new_folder(folder: Path) -> None:
    """Raise `DataError` for what is there and is no empty folder."""
    try:
        if folder.exists() and next(folder.iterdir(), None) is not None:
            first = min(file.name for file in folder.iterdir())
            raise DataError(f"{folder} must be a new or an empty folder: it has {first}")
    except OSError as error:
        raise DataError(f"{folder} must be a new or an empty folder ({error.strerror})") from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a place for files, all of which come to `folder` at the end, or none.

    Folders above it that were not there stay.

    Raises
    ------
    DataError
        If `folder` is not empty, or cannot be written.
    """
    check_new_folder(folder)
    made, moved = not folder.exists(), list[Path]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        try:
            yield place
            for file in sorted(place.iterdir()):
                moved.append(file.rename(folder / file.name))
            place.rmdir()
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):
                for file in moved:
                    file.unlink()
                if made:
                    folder.rmdir()
            raise
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror})") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str) -> Any:
    """Return what JSON says; raise `ValueError` for what only Python takes for it.

    NaN, Infinity, numbers that become infinite, and values nested beyond Python's stack.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word[:40]} is no finite number")
    return number


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, or those of a new file."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
