"""Calibration images: a folder's, a file of pixels, synthesised, or seeded noise."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hwq.api.network import FloatNetwork
from hwq.errors import DataError
from hwq.files import write_bytes
from hwq.methods.base import Method
from hwq.methods.calibration import Calibration
from hwq.methods.psaq import PsaqSettings, synthesize
from hwq.methods.workspace import Track, Workspace
from hwq.models.images import open_images

PSAQ = "psaq"
"""The word that stands for synthesised images where a folder could be named."""
_NOISE_IMAGES = 1
"""Only shapes matter where there are none."""
_SETTINGS = PsaqSettings()


@dataclass(frozen=True, eq=False)
class Images:
    """A calibration set and where it is from.

    Parameters
    ----------
    source : {"images", "psaq", "noise", "none"}
        "none": seeded noise for a method that makes its own images and only takes the shape.
    calibration : Calibration
    """

    source: str
    calibration: Calibration

    def describe(self) -> dict[str, Any]:
        """Return what a calibrated file says of its images."""
        if self.source == "none":
            return {"source": "none", "images": 0, "sha256": None}
        pixels = self.calibration.pixels
        digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        return {"source": self.source, "images": len(pixels), "sha256": digest}


def is_psaq(calib: Path | str | None) -> bool:
    """Whether images are to be synthesised."""
    return calib == PSAQ  # no path equals it: a folder of that name is ./psaq


def psaq_request() -> Mapping[str, Any]:
    """Return what is known of synthesised images before they are made."""
    return {"source": PSAQ, **asdict(_SETTINGS)}


def synthesise(network: FloatNetwork, device: str, workspace: Workspace) -> Images:
    """Make images from the float network; `hwq.methods.psaq` says how."""
    synthesis = synthesize(network.graph, _SETTINGS, device, workspace)
    return Images(PSAQ, replace(synthesis, device=device))


def read_images(
    network: FloatNetwork,
    method: Method,
    calib: Path | str | None,
    seed: int,
    device: str,
    track: Track,
) -> Images | None:
    """Return the calibration images of a method, None where they are to be synthesised.

    Parameters
    ----------
    network : FloatNetwork
    method : Method
        `images` says how many it looks at.
    calib : Path, "psaq" or None
        Folder of images, of which some are drawn; a file that `save_images` wrote, of which all
        are taken; the word for synthesised images; None for a little seeded noise.
    seed : int
        Seed for choosing the images.
    device : str
        Where the method will run torch.
    track : callable
        Shows progress.

    Raises
    ------
    DataError
        When there are no images or some cannot be read.
    """
    config = network.preprocessing
    makes_images = method.makes_images
    if is_psaq(calib) and not makes_images:
        return None
    if calib is None or is_psaq(calib):
        noise = Calibration.noise(config.input_size, _NOISE_IMAGES, seed)
        return Images("none" if makes_images else "noise", replace(noise, device=device))
    path = Path(calib)
    if path.suffix == ".safetensors":
        calibration = Calibration(_read_pixels(path, config.input_size))
    else:
        folder = open_images(path, config, labelled=False)
        images = folder.sample(method.images, seed)
        calibration = Calibration.of(track(images.pixels(), "calibration images", len(images)))
    return Images("images", replace(calibration, device=device))


def save_images(images: Images, path: Path) -> None:
    """Write the pixels to a `.safetensors` file, which `read_images` takes."""
    # the writer takes the memory as it lies, whatever the strides
    write_bytes(path, save({"pixels": np.ascontiguousarray(images.calibration.pixels)}))


def _read_pixels(path: Path, shape: tuple[int, ...]) -> Any:
    if not path.is_file():
        raise DataError(f"calibration images {path}: no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(f"calibration images {path} cannot be read: {error}") from error
    pixels = tensors.get("pixels")
    if pixels is None or str(pixels.dtype) != "uint8" or pixels.ndim != 4 or not len(pixels):
        raise DataError(f"calibration images {path}: pixels must be uint8[B, C, H, W]")
    if pixels.shape[1:] != tuple(shape):
        raise DataError(
            f"calibration images {path}: pixels must be {list(shape)} each, "
            f"not {list(pixels.shape[1:])}"
        )
    return pixels
