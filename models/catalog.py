"""Names of networks: short ones of our own, any timm VisionTransformer, or a user's function."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import torch
from torch import nn

from hwq.errors import SpecError, UsageError
from hwq.models.preprocessing import Preprocessing, preprocessing_of
from hwq.models.tensors import to_float32
from hwq.models.user_module import reason, user_module

# short name -> timm name
MODELS: dict[str, str] = {
    "deit_t": "deit_tiny_patch16_224",
    "deit_s": "deit_small_patch16_224",
    "deit_b": "deit_base_patch16_224",
    "vit_t": "vit_tiny_patch16_224",
    "vit_s": "vit_small_patch16_224",
    "vit_b": "vit_base_patch16_224",
}

FAMILIES: Final = ("vision_transformer", "deit", "vision_transformer_relpos", "beit", "eva")
"""The files of timm whose networks are tried; others are not Vision Transformers."""


@dataclass(frozen=True, slots=True)
class Network:
    """A float network, ready to be imported.

    Parameters
    ----------
    name : str
        As the user gave it.
    module : nn.Module
        In eval mode, of float32.
    preprocessing : Preprocessing
        What its images go through.
    pretrained : bool
        False when the weights are seeded random.
    notes : tuple of str
        What a reader of its results must know, one sentence each.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    pretrained: bool
    notes: tuple[str, ...] = ()


def create_network(name: str, *, pretrained: bool = False, seed: int = 0) -> Network:
    """Build the network called `name`.

    Parameters
    ----------
    name : str
        A key of `MODELS`, a timm VisionTransformer's name, or "module:function" for a function of
        no arguments that returns an `nn.Module` (its `pretrained_cfg`, when present, is read).
    pretrained : bool, optional
        Fetch timm's weights; needs a network connection.
    seed : int, optional
        Seed of the random weights when `pretrained` is False.

    Raises
    ------
    UsageError
        For an unknown name, a function that makes no network of float32, or weights that cannot
        be fetched.
    """
    torch.manual_seed(seed)
    if ":" in name:
        if pretrained:
            raise UsageError(f"--pretrained needs a timm model, not {name!r}")
        module = user_module(name)
    else:
        module = _timm_module(name, pretrained)
    notes = to_float32(module, name)
    try:
        preprocessing = preprocessing_of(module)
    except (SpecError, TypeError, ValueError) as error:
        raise UsageError(f"model {name!r}: preprocessing: {error}") from error
    return Network(name, module.eval(), preprocessing, pretrained, notes)


def list_models() -> list[str]:
    """Every name that `create_network` takes, but for the user's own functions."""
    return [*MODELS, *_timm_names()]


def _timm_names() -> list[str]:
    import timm

    return sorted(str(name) for family in FAMILIES for name in timm.list_models(module=family))


def _timm_module(name: str, pretrained: bool) -> nn.Module:
    import timm

    timm_name = MODELS.get(name, name)
    if timm_name.split(".")[0] not in _timm_names():
        known = ", ".join(MODELS)
        near = get_close_matches(name, list_models(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"unknown model {name!r}{hint} known: {known}, any timm VisionTransformer, or "
            "module:function"
        )
    try:
        module: nn.Module = timm.create_model(timm_name, pretrained=pretrained)
    except Exception as error:  # timm and its hub have no common base of their errors
        what = "fetch weights of" if pretrained else "build"
        raise UsageError(f"cannot {what} {timm_name!r}: {reason(error)}") from error
    return module
