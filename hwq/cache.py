"""Where hwq keeps what it can make again: nothing breaks if it is removed, or cannot be written."""

import hashlib
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


def cache_root() -> Path:
    """Return the folder of everything that is kept: `hwq` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwq"


def cache_folder(kind: str) -> Path | None:
    """Return the folder of one kind of thing, made if need be; None where it cannot be written.

    What is in it must be named after its content, or after all that it was made of.
    """
    try:
        folder = cache_root() / kind
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


def source_digest(packages: Iterable[str]) -> str:
    """SHA-256 of the source of some packages of hwq: "rtl" stands for `hwq.rtl`."""
    digest = hashlib.sha256()
    for name in packages:
        spec = find_spec(f"hwq.{name}")
        for folder in (spec and spec.submodule_search_locations) or ():
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()
