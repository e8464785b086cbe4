"""Folders of labelled images, as the 8-bit pixels a network reads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from os import cpu_count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwq.errors import DataError
from hwq.models.preprocessing import Preprocessing

T = TypeVar("T")
_AHEAD = 8  # images that each processor may read before they are wanted
_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp"})
# what is longer would be resized to more than memory holds
_MAX_RATIO = 100
# Pillow's modes by the channels that a network reads: grey, colour
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images of a folder of ImageNet wnid folders, any subset of the 1,000 classes.

    Parameters
    ----------
    files : tuple of Path
        Sorted by path.
    labels : tuple of int
        Index among the 1,000 classes, by wnid; -1 for a folder that is not a wnid.
    preprocessing : Preprocessing
        Resize and crop, done by timm's own transform.
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.files)

    def head(self, limit: int | None) -> "ImageFolder":
        """Return the first `limit` images; all of them for None."""
        return ImageFolder(self.files[:limit], self.labels[:limit], self.preprocessing)

    def sample(self, count: int, seed: int) -> "ImageFolder":
        """Return `count` images drawn without replacement, in the drawn order."""
        order = np.random.default_rng(seed).permutation(len(self.files))[:count]
        files = tuple(self.files[index] for index in order)
        labels = tuple(self.labels[index] for index in order)
        return ImageFolder(files, labels, self.preprocessing)

    def pixels(self) -> Iterator[NDArray[np.uint8]]:
        """Yield each image as uint8[channels, height, width].

        Raises
        ------
        DataError
            When a file is not an image; the file is named. Also for a network that reads neither
            grey nor colour.
        """
        from timm.data.transforms_factory import create_transform

        config = self.preprocessing
        channels = config.input_size[0]
        if channels not in _MODES:
            raise DataError(f"images have 1 or 3 channels, and the network reads {channels}")
        transform = create_transform(
            config.input_size,
            is_training=False,
            interpolation=config.interpolation,
            crop_pct=config.crop_pct,
            crop_mode=config.crop_mode,
            # a border is filled with the mean
            mean=config.mean,
            std=config.std,
            normalize=False,
        )
        mode = _MODES[channels]
        yield from _ahead(lambda file: _read(file, mode, transform), self.files)

    def load(self) -> NDArray[np.uint8]:
        """Return all images as uint8[B, channels, height, width]."""
        return np.stack(list(self.pixels()))


def open_images(path: Path, preprocessing: Preprocessing, *, labelled: bool) -> ImageFolder:
    """List the images below a folder.

    Parameters
    ----------
    path : Path
        Images lie in sub-folders named by wnid; without `labelled` they may lie anywhere below.
    preprocessing : Preprocessing
        What the network wants done to its images.
    labelled : bool
        Whether every image needs a class.

    Raises
    ------
    DataError
        When the folder is missing, holds no image, or (if `labelled`) a sub-folder is no wnid.
    """
    if not path.is_dir():
        raise DataError(f"image folder {path}: no such folder")
    files = tuple(sorted(f for f in path.rglob("*") if f.suffix.lower() in _SUFFIXES))
    if not files:
        raise DataError(f"image folder {path} holds no images ({', '.join(sorted(_SUFFIXES))})")
    index = _class_index()
    labels = tuple(index.get(file.parent.name, -1) for file in files)
    if labelled and -1 in labels:
        folder = files[labels.index(-1)].parent
        raise DataError(f"image folder {folder} is not named by an ImageNet-1k wnid (n01440764)")
    return ImageFolder(files, labels, preprocessing)


def _ahead(read: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
    """Yield what is read of each file, in order; the next few are read meanwhile."""
    workers = cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[T]] = deque()
        try:
            for file in files:
                under_way.append(pool.submit(read, file))
                if len(under_way) > _AHEAD * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _read(file: Path, mode: str, transform: Callable[[Image.Image], Any]) -> NDArray[np.uint8]:
    """Return an image, in one of Pillow's modes and of the network's size, as uint8[C, H, W]."""
    try:
        with Image.open(file) as image:
            short, long = sorted(image.size)
            if long > _MAX_RATIO * short:
                raise DataError(f"its sides differ more than {_MAX_RATIO}-fold, {short} and {long}")
            return np.asarray(transform(image.convert(mode)), dtype=np.uint8)
    except Exception as error:  # Pillow's decoders raise what they like on a damaged file
        words = str(error) or type(error).__name__
        raise DataError(f"image {file} cannot be read: {words}") from error


@cache
def _class_index() -> dict[str, int]:
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    names = info.label_names()
    return {str(name): position for position, name in enumerate(names)}
