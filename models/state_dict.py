"""The tensors of a checkpoint: safetensors, or a torch file that is read without unpickling."""

import argparse
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hwq.errors import DataError

NESTS: Final = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "network",
    "net",
    "module",
    "teacher",
    "student",
    "ema",
    "model_ema",
    "model_ema_v2",
    "state_dict_ema",
)
"""Keys under which training scripts put weights; where a file has several, the first is taken."""

# a training script's command line: names and plain values
_ALLOWED: Final = (argparse.Namespace,)
_REFUSED_CLASS: Final = re.compile(r"(?:GLOBAL|[Uu]nsupported class|instantiate) ([\w.]+)")
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")


def read_state_dict(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read the tensors of a checkpoint by name.

    Parameters
    ----------
    path : Path
        A `.safetensors` file, or a torch file of tensors, numbers, text and containers of these;
        the tensors may lie under keys of `NESTS`.

    Returns
    -------
    dict, tuple of str
        The tensors, and what a reader of results must know.

    Raises
    ------
    DataError
        When the file is missing, damaged, holds no tensors by name, or an object of another class.
    """
    if not path.is_file():
        raise DataError(f"weights {path}: no such file")
    state: Any = _load(path)
    notes: list[str] = []
    while isinstance(state, Mapping):
        nests = [key for key in NESTS if isinstance(state.get(key), Mapping)]
        if not nests:
            break
        if len(nests) > 1:
            notes.append(f"weights are those under {nests[0]!r}; also in the file: {nests[1:]}")
        state = state[nests[0]]
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    ):
        raise DataError(f"weights {path} hold no state dict")
    return {name: tensor.detach() for name, tensor in state.items()}, tuple(notes)


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(_ALLOWED)):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"weights {path} cannot be read: {_first_line(error)}") from error
    except Exception as error:  # the unpickler's refusal has no public class
        raise DataError(f"weights {path} are refused: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """Return what a loader says, short: torch's refusals are a page in several colours."""
    text = _ANSI.sub("", str(error)).strip()
    refused = _REFUSED_CLASS.search(text)
    if refused is not None:
        return f"they hold an object of {refused[1]}; tensors, numbers and text are read"
    return (text.splitlines() or [type(error).__name__])[0]
