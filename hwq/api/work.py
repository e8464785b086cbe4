"""Work folders: what a long job keeps, and the request that it was begun with."""

import importlib.util
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hwq.errors import DataError, SpecError, UsageError
from hwq.files import parse_json, write_text
from hwq.graph.fields import check_fields
from hwq.methods.workspace import Track, Workspace

T = TypeVar("T")
FIT, IMAGES = PARTS = ("fit", "images")
"""Folders in a work folder: of the method, and of synthesised images."""
# Windows has none: there, two processes in one folder are not kept apart
_FCNTL = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
_REQUEST, _CLOCK, _LOCK = "request.json", "clock.json", ".lock"


@dataclass(frozen=True)
class _Clock:
    """Seconds that earlier runs worked, and when the last one began."""

    seconds: float
    started: float


def open_work(folder: Path, request: Mapping[str, Any], resume: bool) -> None:
    """Begin in a new or empty folder, or go on in one that holds the same request.

    Parameters
    ----------
    folder : Path
        Created where it does not exist.
    request : Mapping
        Everything that the result depends on; JSON types.
    resume : bool
        Whether the folder may hold something.

    Raises
    ------
    UsageError
        When it holds something that is not to be resumed, or was begun with another request; the
        field that differs is named.
    DataError
        When it cannot be created or is no work folder.
    """
    with _naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # what begins with a dot is the draft of a file whose writer was killed
        filled = any(not path.name.startswith(".") for path in folder.iterdir())
    if not filled:
        write_text(folder / _REQUEST, json.dumps(request, indent=2) + "\n")
        return
    if not resume:
        raise UsageError(
            f"work folder {folder} is not empty: --resume goes on with what it holds; "
            "remove it to begin anew"
        )
    difference = first_difference(read_json(folder / _REQUEST, dict), request)
    if difference is not None:
        raise UsageError(
            f"work folder {folder} was begun with another request: {difference}; "
            "remove it to begin anew"
        )


def workspace(folder: Path | None, part: str, seed: int, track: Track) -> Workspace:
    """Return the workspace of one part of a job: a folder of its own in the work folder."""
    if folder is None:
        return Workspace(seed, None, track)
    subfolder = folder / part
    with _naming(folder):
        subfolder.mkdir(exist_ok=True)
        for path in subfolder.glob(".*"):  # drafts of a run that was killed
            path.unlink()
    return Workspace(seed, subfolder, track)


@contextmanager
def tidy(folder: Path | None) -> Iterator[None]:
    """Own an open work folder; remove it when what happens within fails before anything is kept.

    Raises
    ------
    UsageError
        When another process works in it.
    """
    if folder is None:
        yield
        return
    with _locked(folder):
        try:
            yield
        except BaseException as error:
            if not any(folder.glob("*/*.safetensors")):
                remove(folder)
            elif isinstance(error, DataError):
                raise DataError(
                    f"{error}; what is done is kept in {folder}: --resume goes on with it"
                ) from error
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however that ends."""
    if _FCNTL is None:
        yield
        return
    with _naming(folder):
        file = (folder / _LOCK).open("w")
    with file:
        try:
            _FCNTL.flock(file, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"work folder {folder} is in use by another process") from error
        yield


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Turn what the system says of a work folder into a `DataError` that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"work folder {folder}: {error.strerror}") from error


def remove(folder: Path) -> None:
    """Remove a work folder, or what of it is ours where others have put something there."""
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in (_REQUEST, _CLOCK, _LOCK):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def earlier_seconds(folder: Path | None) -> float:
    """Return how long earlier runs worked on what is kept of the fit, and start a new run.

    A run that was killed counts until its last checkpoint: what came after is done again.
    """
    if folder is None:
        return 0.0
    path, seconds = folder / _CLOCK, 0.0
    if path.exists():
        clock = read_json(path, _Clock)
        times = [file.stat().st_mtime for file in (folder / FIT).glob("*.safetensors")]
        worked = max(times, default=0.0) - clock.started
        seconds = clock.seconds + max(worked, 0.0)
    write_text(path, json.dumps({"seconds": seconds, "started": time.time()}) + "\n")
    return seconds


def first_difference(old: Any, new: Any, name: str = "") -> str | None:
    """Return "bits: w4a4, not w8a8" for the first field that differs, None where none does."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*new, *(key for key in old if key not in new)]:
            path = f"{name}.{key}" if name else str(key)
            difference = first_difference(old.get(key), new.get(key), path)
            if difference is not None:
                return difference
        return None
    return None if old == new else f"{name}: {_text(old)}, not {_text(new)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_json(path: Path, kind: type[T]) -> T:
    """Return the dict or the dataclass that a work folder keeps in a file as a JSON object.

    Raises
    ------
    DataError
        When there is none, or it has other fields.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent} is no work folder: {path.name} cannot be read") from error
    if not isinstance(content, dict):
        raise DataError(f"{path.parent} is no work folder: {path.name} holds no JSON object")
    try:
        if is_dataclass(kind):
            check_fields(kind, content)
    except SpecError as error:
        raise DataError(f"{path}: {error}") from error
    return kind(**content)
