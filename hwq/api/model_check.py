"""Which networks can be imported: one after another, each compared with its module."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Final

import timm
import torch
from torch import nn

from hwq.api.network import float_graph
from hwq.errors import HwqError, UsageError
from hwq.models.catalog import FAMILIES, Network
from hwq.models.preprocessing import preprocessing_of
from hwq.models.tensors import to_float32
from hwq.models.user_module import reason

DEPTH: Final = 2
"""Blocks of a network that is tried: the others are the same again."""

_HUGGING_FACE: Final[Mapping[str, tuple[str, str]]] = {
    "huggingface/vit": ("ViTConfig", "ViTForImageClassification"),
    "huggingface/deit": ("DeiTConfig", "DeiTForImageClassification"),
    "huggingface/beit": ("BeitConfig", "BeitForImageClassification"),
    "huggingface/dinov2": ("Dinov2Config", "Dinov2ForImageClassification"),
    "huggingface/clip_vision": ("CLIPVisionConfig", "CLIPVisionModelWithProjection"),
    "huggingface/siglip_vision": ("SiglipVisionConfig", "SiglipVisionModel"),
}
_TORCHVISION: Final = "torchvision/vit_b_16"


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What became of one network.

    Parameters
    ----------
    name : str
    outcome : {"imports", "refused", "failed", "not built"}
        It equals its module; hwq says what it lacks; something was not foreseen; its library does
        not build it two blocks deep.
    because : str
        Empty for one that imports.
    seconds : float
        To build, import and compare it.
    """

    name: str
    outcome: str
    because: str
    seconds: float


def checked_names(pattern: str = "*") -> list[str]:
    """Return the networks that are tried: timm's by family, Hugging Face's, torchvision's.

    Raises
    ------
    UsageError
        When none matches the shell pattern.
    """
    names = [name for family in FAMILIES for name in sorted(timm.list_models(module=family))]
    chosen = [name for name in (*names, *_HUGGING_FACE, _TORCHVISION) if fnmatch(name, pattern)]
    if not chosen:
        raise UsageError(f"no model is called like {pattern!r}")
    return chosen


def check_models(names: list[str]) -> Iterator[ModelCheck]:
    """Yield a row per network, built on its real sizes but two blocks deep, one in memory."""
    for name in names:
        start = time.monotonic()
        outcome, because = _check(name)
        yield ModelCheck(name, outcome, because, round(time.monotonic() - start, 1))
        gc.collect()


def _check(name: str) -> tuple[str, str]:
    torch.manual_seed(0)
    try:
        module = _builder(name)()
    except Exception as error:  # what its library says of two blocks
        return "not built", reason(error)
    try:
        to_float32(module, name)
        float_graph(Network(name, module.eval(), preprocessing_of(module), pretrained=False))
    except HwqError as error:
        return "refused", " ".join(str(error).split())
    except Exception as error:  # the row says so, and the next network is tried
        return "failed", reason(error)
    return "imports", ""


def _builder(name: str) -> Callable[[], nn.Module]:
    if name in _HUGGING_FACE:
        return lambda: _hugging_face(*_HUGGING_FACE[name])
    if name == _TORCHVISION:
        return _torchvision
    return lambda: _timm(name)


def _timm(name: str) -> nn.Module:
    module: nn.Module = timm.create_model(name, depth=DEPTH)
    return module


def _hugging_face(config_name: str, model_name: str) -> nn.Module:
    import transformers

    config = getattr(transformers, config_name)(num_hidden_layers=DEPTH)
    return _LastOutput(getattr(transformers, model_name)(config))


def _torchvision() -> nn.Module:
    from torchvision.models import VisionTransformer

    module: nn.Module = VisionTransformer(224, 16, DEPTH, 12, 768, 3072)
    return module


class _LastOutput(nn.Module):
    """A Hugging Face model whose result is a tensor: logits, embeddings or pooled tokens."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.config = network.config

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """float32[B, C, H, W] -> float32[B, classes]."""
        result = self.network(image, return_dict=False)[0]
        return result if isinstance(result, torch.Tensor) else result[0]
