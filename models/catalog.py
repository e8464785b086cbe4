"""Names of networks: short ones of our own, any timm VisionTransformer, or a user's function."""

import importlib
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hwq.errors import UsageError

# short name -> timm name
MODELS: dict[str, str] = {
    "deit_t": "deit_tiny_patch16_224",
    "deit_s": "deit_small_patch16_224",
    "deit_b": "deit_base_patch16_224",
    "vit_t": "vit_tiny_patch16_224",
    "vit_s": "vit_small_patch16_224",
    "vit_b": "vit_base_patch16_224",
}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the network's input.

    Parameters
    ----------
    input_size : tuple of int
        Channels, height, width.
    mean, std : tuple of float
        Per channel, of pixels scaled to 0..1.
    crop_pct : float
        Side of the centre crop over the resized shorter side.
    interpolation : str
        Resampling filter, as timm names it.
    """

    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.9
    interpolation: str = "bicubic"


@dataclass(frozen=True, slots=True)
class Network:
    """A float network, ready to be imported.

    Parameters
    ----------
    name : str
        As the user gave it.
    module : nn.Module
        In eval mode.
    preprocessing : Preprocessing
        What its images go through.
    pretrained : bool
        False when the weights are seeded random.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    pretrained: bool


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
        Of the random weights when `pretrained` is False.

    Raises
    ------
    UsageError
        For an unknown name, a function that cannot be imported, or weights that cannot be fetched.
    """
    torch.manual_seed(seed)
    if ":" in name:
        if pretrained:
            raise UsageError(f"--pretrained needs a timm model, not {name!r}")
        module = _user_module(name)
    else:
        module = _timm_module(name, pretrained)
    config = dict(getattr(module, "pretrained_cfg", None) or {})
    defaults = Preprocessing()
    preprocessing = Preprocessing(
        tuple(config.get("input_size", defaults.input_size)),
        tuple(config.get("mean", defaults.mean)),
        tuple(config.get("std", defaults.std)),
        float(config.get("crop_pct") or defaults.crop_pct),
        str(config.get("interpolation") or defaults.interpolation),
    )
    return Network(name, module.eval(), preprocessing, pretrained)


def list_models() -> list[str]:
    """Every name that `create_network` takes, but for the user's own functions."""
    return [*MODELS, *_timm_names()]


def _timm_names() -> list[str]:
    import timm

    names = timm.list_models(module="vision_transformer") + timm.list_models(module="deit")
    return sorted(str(name) for name in names)


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
        if not pretrained:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"cannot fetch weights of {timm_name!r}: {reason}") from error
    return module


def _user_module(name: str) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Any = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot import model {name!r}: {error}") from error
    finally:
        sys.path.pop(0)
    module = function()
    if not isinstance(module, nn.Module):
        raise UsageError(f"model {name!r} must return an nn.Module, not {type(module).__name__}")
    return module
