"""Where hwq keeps what it can make again: nothing breaks if it is removed, or cannot be written."""

import os
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
