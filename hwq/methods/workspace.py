"""What a long fit may use besides images: a seed, a folder of checkpoints, a progress bar."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from hwq.errors import DataError
from hwq.files import write_bytes

# wraps an iterable to show progress: (items, what, how many) -> items
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]


def no_track(items: Iterable[Any], what: str, count: int) -> Iterable[Any]:
    """Show nothing."""
    return items


@dataclass(frozen=True)
class Workspace:
    """Where a fit draws its random numbers from, keeps what it has done, and says how far it is.

    A fit that is killed and run again in the same folder with the same request ends with the same
    bits, on the same machine with as many threads: every step draws from a generator of its own
    and is either saved whole or done again.

    Parameters
    ----------
    seed : int
        Seed of every random choice.
    folder : Path, optional
        Existing folder for checkpoints; None keeps none.
    track : callable
        Shows progress.
    """

    seed: int = 0
    folder: Path | None = None
    track: Track = no_track

    def generator(self, step: int) -> torch.Generator:
        """Return the random numbers of one step, the same whenever it is done."""
        return torch.Generator().manual_seed((self.seed << 20) + step)

    def load(self, key: str) -> dict[str, Tensor] | None:
        """Return what `save` kept under `key`, None if there is nothing.

        Raises
        ------
        DataError
            When the file is not what `save` wrote.
        """
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"checkpoint {path} cannot be read: {error}") from error

    def save(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under `key`: wholly or not at all.

        Raises
        ------
        DataError
            When the file cannot be written.
        """
        path = self._path(key)
        if path is not None:
            plain = {name: value.contiguous().cpu() for name, value in tensors.items()}
            write_bytes(path, save(plain))

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.safetensors"


NO_WORKSPACE = Workspace()
"""Seed 0, no checkpoints, no progress."""
