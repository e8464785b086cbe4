import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hwq.api.images import (
    Images,
    is_psaq,
    psaq_request,
    read_images,
    save_images,
    synthesise,
)
from hwq.cli.arguments import calibration_source
from hwq.errors import DataError
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import MinMax
from hwq.methods.psaq_vit import PsaqViT
from hwq.methods.workspace import NO_WORKSPACE, no_track

MINMAX = MinMax()


def read(network, calib, method=MINMAX, seed=0):
    return read_images(network, method, calib, seed, "cpu", no_track)


def test_a_folder_is_drawn_from(float_network, folder):
    images = read(float_network, folder)
    assert images.source == "images" and images.calibration.pixels.shape == (6, 3, 32, 32)
    other = read(float_network, folder, seed=1)
    assert images.describe()["sha256"] != other.describe()["sha256"]  # another order
    assert not images.calibration.synthetic


def test_pixels_that_were_saved_are_the_same_images(float_network, folder, tmp_path):
    """Whatever the strides of the array: a decoded image is height x width x channels."""
    images = read(float_network, folder)
    save_images(images, tmp_path / "pixels.safetensors")
    again = read(float_network, tmp_path / "pixels.safetensors")
    np.testing.assert_array_equal(again.calibration.pixels, images.calibration.pixels)
    assert again.describe() == images.describe()
    turned = Calibration(np.asfortranarray(images.calibration.pixels))
    save_images(Images("images", turned), tmp_path / "turned.safetensors")
    kept = load_file(tmp_path / "turned.safetensors")["pixels"]
    np.testing.assert_array_equal(kept, images.calibration.pixels)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"other": np.zeros((1, 3, 32, 32), np.uint8)}, "pixels must be uint8"),
        ({"pixels": np.zeros((1, 3, 32, 32), np.float32)}, "pixels must be uint8"),
        ({"pixels": np.zeros((3, 32, 32), np.uint8)}, "pixels must be uint8"),
        ({"pixels": np.zeros((0, 3, 32, 32), np.uint8)}, "pixels must be uint8"),
        (
            {"pixels": np.zeros((1, 3, 16, 32), np.uint8)},
            r"pixels must be \[3, 32, 32\] each, not \[3, 16, 32\]",
        ),
    ],
)
def test_pixels_that_do_not_fit_are_named(float_network, tmp_path, tensors, words):
    save_file(tensors, tmp_path / "pixels.safetensors")
    with pytest.raises(DataError, match=rf"pixels\.safetensors: {words}"):
        read(float_network, tmp_path / "pixels.safetensors")


def test_a_file_that_cannot_be_read_is_named(float_network, tmp_path):
    path = tmp_path / "pixels.safetensors"
    with pytest.raises(DataError, match="no such file"):
        read(float_network, path)
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match=r"pixels\.safetensors cannot be read"):
        read(float_network, path)


def test_noise_says_that_it_is_noise(float_network):
    images = read(float_network, None)
    assert images.source == "noise" and images.calibration.synthetic


def test_the_word_psaq_means_that_images_are_still_to_be_made(float_network, few_psaq_images):
    assert read(float_network, "psaq") is None
    assert psaq_request() == {
        **{"source": "psaq", "count": 4, "iterations": 2},
        **{"learning_rate": 0.2, "batch": psaq_request()["batch"]},
    }
    images = synthesise(float_network, "cpu", NO_WORKSPACE)
    assert images.source == "psaq" and images.describe()["images"] == 4


def test_a_folder_called_psaq_is_a_folder(float_network, folder, monkeypatch):
    folder.rename(folder.parent / "psaq")
    monkeypatch.chdir(folder.parent)
    assert read(float_network, calibration_source("./psaq")).source == "images"
    assert is_psaq(calibration_source("psaq")) and not is_psaq(None)


def test_a_method_that_makes_its_own_images_is_given_none(float_network, folder):
    for calib in (None, "psaq"):
        images = read(float_network, calib, PsaqViT())
        assert images.describe() == {"source": "none", "images": 0, "sha256": None}
        assert images.calibration.synthetic
    assert read(float_network, folder, PsaqViT()).source == "images"
