"""What accuracy needs, what it tells of the float network, and one picture through all three."""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from hwq.cost.result import Guess, Picture
from hwq.errors import UsageError
from hwq.graph.ir import Graph
from hwq.models.images import ImageFolder, open_images
from hwq.models.preprocessing import Preprocessing
from hwq.request import Request
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.logits import to_logits

CLASSES: Final = 1000
"""Of ImageNet-1k, by whose wnids the folders of images are labelled."""
_ENOUGH_IMAGES: Final = 100
_GUESSES: Final = 5


@dataclass(frozen=True, eq=False)
class Trial:
    """What a finished network is tried on.

    Parameters
    ----------
    test : ImageFolder or None
        Labelled images, where accuracy is asked for.
    picture : tuple of str and uint8[C, H, W], or None
        Name and pixels, where one is asked for.
    """

    test: ImageFolder | None
    picture: tuple[str, NDArray[np.uint8]] | None

    @classmethod
    def of(cls, request: Request, preprocessing: Preprocessing, graph: Graph) -> "Trial":
        """Refuse what cannot be measured on this network, before it is fitted."""
        data, limit, picture = request.data, request.limit, request.picture
        if data is not None:
            check_classes(graph)
        if picture is not None:
            check_picture(graph)
        return cls(
            None if data is None else open_images(data, preprocessing, labelled=True).head(limit),
            None if picture is None else (picture.name, read_picture(picture, preprocessing)),
        )


def check_classes(graph: Graph) -> None:
    """Raise `UsageError` unless what a network returns can be compared with ImageNet's labels."""
    shape = _output_shape(graph)
    if shape != (1, CLASSES):
        raise UsageError(
            f"data: accuracy needs ImageNet-1k's {CLASSES} classes, an output of [1, {CLASSES}]; "
            f"that of {graph.name!r} is {list(shape)}"
        )


def check_picture(graph: Graph) -> None:
    """Raise `UsageError` unless a network returns one number per class."""
    shape = _output_shape(graph)
    if len(shape) != 2:
        raise UsageError(
            f"picture: it needs an output of [1, classes]; that of {graph.name!r} is {list(shape)}"
        )


def chance_notes(top1_fp32: float | None, images: int) -> tuple[str, ...]:
    """Return a warning if the float network guesses: at most 3 standard deviations above chance.

    Fewer than a hundred images tell nothing.
    """
    if top1_fp32 is None or images < _ENOUGH_IMAGES:
        return ()
    hits = round(top1_fp32 * images / 100)
    chance = images / CLASSES
    if hits > chance + 3 * sqrt(chance):
        return ()
    return (
        f"warning: float32 itself is at chance, {hits} of {images} images: wrong weights, "
        "or another mean, std or size than the network was trained with",
    )


def read_picture(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return one picture as a network reads it: uint8[C, H, W].

    Raises
    ------
    DataError
        When the file is not an image.
    """
    return next(ImageFolder((path,), (-1,), preprocessing).pixels())


def guess_picture(
    name: str,
    pixels: NDArray[np.uint8],
    reference: Graph | None,
    quantised: Graph,
    integer: Graph,
) -> Picture:
    """Return the likeliest classes of one picture in each of the three networks.

    Parameters
    ----------
    name : str
        Name and pixels of the picture.
    pixels : uint8[C, H, W]
    reference : Graph or None
        The float network; None where there is none.
    quantised, integer : Graph
        What they return has passed `check_picture`.
    """
    logits = to_logits(integer, [IntegerExecutor(integer).run(pixels)])
    return Picture(
        file=name,
        float32=None if reference is None else _guesses(_float_logits(reference, pixels)),
        fake_quant=_guesses(_float_logits(quantised, pixels)),
        integer=_guesses(torch.from_numpy(np.asarray(logits))),
    )


def _output_shape(graph: Graph) -> tuple[int, ...]:
    return tuple(graph.tensors[graph.outputs[0]].shape)


def _float_logits(graph: Graph, pixels: NDArray[np.uint8]) -> torch.Tensor:
    with torch.no_grad():
        results = FakeQuantExecutor(graph)(torch.from_numpy(pixels)[None].float())
    return results[graph.outputs[0]]


def _guesses(logits: torch.Tensor) -> tuple[Guess, ...]:
    probabilities = logits.double().flatten().softmax(0)
    # equal logits keep the order of their classes
    values, classes = probabilities.sort(descending=True, stable=True)
    names = _class_names() if len(probabilities) == CLASSES else None
    return tuple(
        Guess(index, None if names is None else names.index_to_description(index), value)
        for index, value in zip(
            classes[:_GUESSES].tolist(), values[:_GUESSES].tolist(), strict=True
        )
    )


def _class_names() -> Any:
    from timm.data.imagenet_info import ImageNetInfo

    return ImageNetInfo("imagenet-1k")
