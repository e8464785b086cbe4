"""Pictures: odd sizes, modes, names and bytes."""

import io
import os
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from hwq.errors import HwqError
from hwq.models.images import open_images
from hwq.models.preprocessing import Preprocessing
from tests.fuzz import mutate
from tests.fuzz.harness import Fault, accepts

_MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "LA", "I", "F", "I;16", "YCbCr")
_KINDS = (("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("BMP", ".bmp"), ("GIF", ".png"))
_SIDES = (1, 2, 3, 7, 8, 9, 31, 32, 100, 333)


class Images:
    """Read one picture of a folder; what is accepted is uint8 of the asked size."""

    name = "images"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / f"images-{os.getpid()}" / "n01440764"
        self.folder.mkdir(parents=True)
        import_module("timm.data.transforms_factory")

    def run(self, rng: mutate.Rng) -> bool:
        """Try one picture."""
        file = self._write(rng)
        channels = int(mutate.pick(rng, (1, 3, 3, 3)))
        words = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
        config = Preprocessing(
            (channels, int(mutate.pick(rng, (1, 8, 32))), int(mutate.pick(rng, (1, 8, 32)))),
            (0.5,) * channels,
            (0.5,) * channels,
            float(mutate.pick(rng, (0.1, 0.5, 0.875, 1.0))),
            mutate.pick(rng, words),
            mutate.pick(rng, ("center", "squash", "border")),
        )

        def read() -> None:
            (pixels,) = open_images(self.folder.parent, config, labelled=True).pixels()
            if pixels.dtype != np.uint8 or pixels.shape != config.input_size:
                raise Fault(f"{pixels.dtype}{pixels.shape}, not {config.input_size}")

        try:
            return accepts(read)
        finally:
            file.unlink()

    def _write(self, rng: mutate.Rng) -> Path:
        size = (int(mutate.pick(rng, _SIDES)), int(mutate.pick(rng, _SIDES)))
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        picture = Image.fromarray(pixels)
        kind, suffix = mutate.pick(rng, _KINDS)
        buffer = io.BytesIO()
        try:
            picture.convert(mutate.pick(rng, _MODES)).save(buffer, kind)
        except (OSError, ValueError, HwqError):
            picture.save(buffer, kind)
        data = buffer.getvalue()
        if rng.random() < 0.6:
            data = mutate.flipped(rng, data)
        if rng.random() < 0.05:
            data = mutate.pick(rng, (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"BM", bytes(100)))
        file = self.folder / f"a{mutate.pick(rng, (suffix, '.png', '.JPEG'))}"
        file.write_bytes(data)
        return file
