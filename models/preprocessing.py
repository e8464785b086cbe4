"""What an image goes through before a network reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum, isfinite
from typing import TYPE_CHECKING, Any, Final

from hwq.errors import require

if TYPE_CHECKING:
    from torch import nn

_FILTERS: Final = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
_CROPS: Final = ("center", "squash", "border")
_MAX_CHANNELS, _MAX_SIDE = 1024, 8192


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
    crop_mode : {"center", "squash", "border"}
        What becomes of a picture of another shape, as timm names it.

    Raises
    ------
    SpecError
        For a value out of its range, and for as many means as there are no channels.
    """

    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.9
    interpolation: str = "bicubic"
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        size = self.input_size
        require(
            len(size) == 3 and all(type(side) is int for side in size),
            f"input_size must be three whole numbers, channels, height, width, not {size}",
        )
        require(
            1 <= size[0] <= _MAX_CHANNELS and all(1 <= side <= _MAX_SIDE for side in size[1:]),
            f"input_size must be 1..{_MAX_CHANNELS} channels of 1..{_MAX_SIDE} x 1..{_MAX_SIDE} "
            f"pixels, not {size}",
        )
        for name, values in (("mean", self.mean), ("std", self.std)):
            require(
                len(values) == size[0],
                f"{name} must be {size[0]} numbers, one per channel, not {len(values)}",
            )
            require(
                all(isfinite(value) for value in values), f"{name} must be finite, not {values}"
            )
        require(all(value > 0 for value in self.std), f"std must be positive, not {self.std}")
        require(0.1 <= self.crop_pct <= 1, f"crop_pct must be in 0.1..1, not {self.crop_pct}")
        for name, word, words in (
            ("interpolation", self.interpolation, _FILTERS),
            ("crop_mode", self.crop_mode, _CROPS),
        ):
            require(word in words, f"{name} must be one of {', '.join(words)}, not {word!r}")


def preprocessing_of(module: "nn.Module") -> Preprocessing:
    """Return what a network's images go through.

    The size is what the module says of itself: timm's patch embedding, the `config` of a Hugging
    Face model, torchvision's `image_size`. Mean and filter are those of its `pretrained_cfg`, else
    ImageNet's. A `pretrained_cfg` that the maker of the module wrote comes before all of these; the
    one that timm writes tells what its weights were trained with, which the module may not be.

    Three means become their average for a network of one channel, which reads grey images.

    Raises
    ------
    SpecError
        For values that make no sense.
    """
    said: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    require(isinstance(said, Mapping), f"pretrained_cfg must be a dict, not {type(said).__name__}")
    by_timm = said is getattr(module, "default_cfg", None)
    default = Preprocessing()
    size = tuple(said.get("input_size") or default.input_size)
    if by_timm or not said.get("input_size"):
        size = _size_of(module, size)
    mean, std = tuple(said.get("mean") or default.mean), tuple(said.get("std") or default.std)
    if size[:1] == (1,):
        mean, std = _average(mean), _average(std)
    return Preprocessing(
        size,
        mean,
        std,
        float(said.get("crop_pct") or default.crop_pct),
        str(said.get("interpolation") or default.interpolation),
        str(said.get("crop_mode") or default.crop_mode),
    )


def _size_of(module: "nn.Module", otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """Return channels, height and width as the module's parts say them."""
    config = getattr(module, "config", None)
    embedding = getattr(module, "patch_embed", None)
    first = getattr(embedding, "proj", None) or getattr(module, "conv_proj", None)
    side = _first(
        getattr(embedding, "img_size", None),
        getattr(config, "image_size", None),
        getattr(module, "image_size", None),
    )
    channels = _first(getattr(first, "in_channels", None), getattr(config, "num_channels", None))
    sides = otherwise[1:] if side is None else (side, side) if isinstance(side, int) else side
    return (*(otherwise[:1] if channels is None else (channels,)), *sides)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _average(values: tuple[float, ...]) -> tuple[float, ...]:
    return (fsum(values) / len(values),)
