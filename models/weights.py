"""The weights of a checkpoint, fitted to the names and the shapes of a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from hwq.errors import DataError
from hwq.files import sha256
from hwq.models.hugging_face import is_hugging_face, to_timm
from hwq.models.state_dict import read_state_dict
from hwq.models.tensors import conversion_notes, fault_of

# what wrappers put before every name
_PREFIXES: Final = (
    *("module.", "_orig_mod.", "model.", "backbone.", "teacher.", "student.", "ema_model."),
)
# torch's AveragedModel counts its averages beside the weights
_COUNTERS: Final = frozenset({"n_averaged"})
_HEADS: Final = ("head", "head_dist", "heads.head", "classifier", "fc")
_TABLE: Final = "pos_embed"


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """What was loaded.

    Parameters
    ----------
    sha256 : str
        SHA-256 of the file.
    notes : tuple of str
        What a reader of results must know, one sentence each.
    """

    sha256: str
    notes: tuple[str, ...]


def load_weights(
    module: nn.Module, path: Path, *, resample_pos_embed: bool = False
) -> LoadedWeights:
    """Load a checkpoint into `module`, every tensor of it.

    Wrappers' prefixes are dropped, the names of Hugging Face's ViT and DeiT translated, floats
    of other widths converted to float32. A head of other classes replaces the module's.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    path : Path
        See `hwq.models.state_dict.read_state_dict`.
    resample_pos_embed : bool
        Fit a position table of another grid, by timm's bicubic resampling.

    Raises
    ------
    DataError
        When the file is missing, damaged, or of another network (the first differences are named),
        and when a tensor of it cannot be a weight.
    """
    state, notes = read_state_dict(path)
    expected = module.state_dict()
    renamed, naming = _rename(state, expected)
    missing = [name for name in expected if name not in renamed]
    unexpected = [name for name in renamed if name not in expected]
    if missing or unexpected:
        raise DataError(
            f"weights {path} are of another model: missing {_some(missing)}, "
            f"unexpected {_some(unexpected)}"
        )
    for name, tensor in renamed.items():
        _check(path, name, tensor, expected[name])
    converted = conversion_notes(renamed)
    floats = {n: t.float() if t.is_floating_point() else t for n, t in renamed.items()}
    resampled = _resample(module, path, floats) if resample_pos_embed else ()
    heads = _heads(expected, floats)
    for name, wanted in expected.items():
        tensor = floats[name]
        if tensor.shape != wanted.shape and name.rpartition(".")[0] not in heads:
            hint = "; --resample_pos_embed fits it" if name == _TABLE else ""
            raise DataError(
                f"weights {path} are of another model: {name} has shape {list(tensor.shape)}, "
                f"not {list(wanted.shape)}{hint}"
            )
    classes = _replace_heads(module, heads, floats)
    module.load_state_dict(floats)
    return LoadedWeights(sha256(path), (*notes, *naming, *converted, *resampled, *classes))


def _rename(
    state: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors by the module's names, as far as the naming is known, and a note."""
    while not any(name in expected for name in state):
        state = {name: tensor for name, tensor in state.items() if name not in _COUNTERS}
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)
        if not state or prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if not set(state) & set(expected) and is_hugging_face(state):
        return to_timm(state), ("weights have Hugging Face's names",)
    return state, ()


def _check(path: Path, name: str, tensor: Tensor, expected: Tensor) -> None:
    """Refuse what cannot be a weight; where the module counts, the file must count alike."""
    if not expected.is_floating_point() and tensor.dtype == expected.dtype:
        return
    fault = fault_of(tensor)
    if fault is not None:
        raise DataError(f"weights {path}: {name} {fault}")


def _resample(module: nn.Module, path: Path, state: dict[str, Tensor]) -> tuple[str, ...]:
    """Fit the position table in `state` to the module's grid of patches."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    grid = getattr(getattr(module, "patch_embed", None), "grid_size", None)
    table, wanted = state.get(_TABLE), module.state_dict().get(_TABLE)
    if grid is None or table is None or wanted is None:
        raise DataError(f"weights {path}: --resample_pos_embed needs timm's {_TABLE} and its grid")
    if table.shape == wanted.shape:
        return ()
    prefix = wanted.shape[1] - grid[0] * grid[1]
    patches = table.shape[1] - prefix if table.ndim == 3 else 0
    side = isqrt(max(patches, 0))
    if side == 0 or side * side != patches or table.shape[2] != wanted.shape[2]:
        raise DataError(
            f"weights {path}: {_TABLE} of shape {list(table.shape)} is no square grid of patches "
            f"after {prefix} tokens, {wanted.shape[2]} numbers each"
        )
    state[_TABLE] = resample_abs_pos_embed(table, list(grid), [side, side], prefix)
    return (
        f"position table resampled (bicubic) from {side} x {side} to {grid[0]} x {grid[1]} patches",
    )


def _heads(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Return the classifiers that differ in their number of classes only."""
    heads = [head for head in _HEADS if f"{head}.weight" in expected]
    shapes = {state[f"{head}.weight"].shape for head in heads}
    if len(shapes) != 1:
        return []
    (shape,) = shapes
    width = expected[f"{heads[0]}.weight"].shape[1:]
    biases = [state[f"{head}.bias"].shape for head in heads if f"{head}.bias" in state]
    fits = len(shape) == 2 and shape[0] > 0 and shape[1:] == width
    return heads if fits and biases == [shape[:1]] * len(heads) else []


def _replace_heads(
    module: nn.Module, heads: list[str], state: Mapping[str, Tensor]
) -> tuple[str, ...]:
    before = [len(module.get_parameter(f"{head}.weight")) for head in heads]
    if not heads or before == [len(state[f"{head}.weight"]) for head in heads]:
        return ()
    classes, width = state[f"{heads[0]}.weight"].shape
    for head in heads:
        module.set_submodule(head, nn.Linear(width, classes))
    return (f"the network has {classes} classes, as the weights' {' and '.join(heads)}",)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "-"
