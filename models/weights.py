"""Checkpoints in: safetensors, or torch files read without unpickling."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hwq.errors import DataError


def load_weights(module: nn.Module, path: Path) -> str:
    """Load a checkpoint into `module`, every tensor of it.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    path : Path
        A `.safetensors` file, or a torch file that `torch.load(weights_only=True)` accepts; the
        state dict may lie under "model" or "state_dict".

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    DataError
        When the file is missing, damaged, or of another network; the first differences are named.
    """
    state = _read(path)
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        raise DataError(
            f"weights {path} are of another model: missing {_some(missing)}, "
            f"unexpected {_some(unexpected)}"
        )
    for name, value in expected.items():
        if state[name].shape != value.shape:
            raise DataError(
                f"weights {path} are of another model: {name} has shape "
                f"{list(state[name].shape)}, not {list(value.shape)}"
            )
    module.load_state_dict(dict(state))
    return sha256(path)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise DataError(f"weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"weights {path} cannot be read: {_first_line(error)}") from error
    except Exception as error:  # the unpickler's refusal has no public class
        raise DataError(f"weights {path} are refused: {_first_line(error)}") from error
    for key in ("model", "state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"weights {path} hold no state dict")
    return state


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "-"
