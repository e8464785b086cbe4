import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from timm.data import create_transform

from hwq.errors import DataError
from hwq.models.images import open_images
from hwq.models.preprocessing import Preprocessing

SMALL = Preprocessing(input_size=(3, 32, 32), crop_pct=0.875)
FIRST, SECOND, LAST = "n01440764", "n01443537", "n15075141"


def picture(path, size=(60, 45), seed=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    image.convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for wnid, names in ((LAST, "ab"), (FIRST, "c"), (SECOND, "de")):
        for name in names:
            picture(tmp_path / wnid / f"{name}.png", seed=ord(name))
    return tmp_path


def message(build):
    with pytest.raises(DataError) as caught:
        build()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_follow_from_wnids(folder):
    images = open_images(folder, SMALL, labelled=True)
    assert [file.name for file in images.files] == ["c.png", "d.png", "e.png", "a.png", "b.png"]
    assert images.labels == (0, 1, 1, 999, 999)
    assert len(images) == 5


@pytest.mark.parametrize("size", [(60, 45), (20, 90), (32, 32), (33, 32)])
@pytest.mark.parametrize(
    "preprocessing",
    [
        SMALL,
        Preprocessing((3, 24, 24), (0.5,) * 3, (0.25,) * 3, 1.0, "bilinear"),
        Preprocessing((3, 224, 224), crop_pct=0.9),
    ],
    ids=["bicubic", "bilinear", "deit"],
)
def test_pixels_are_those_of_timms_transform(tmp_path, preprocessing, size):
    path = picture(tmp_path / FIRST / "a.png", size)
    pixels = next(open_images(tmp_path, preprocessing, labelled=True).pixels())
    assert pixels.dtype == np.uint8 and pixels.shape == preprocessing.input_size
    config = preprocessing
    transform = create_transform(
        config.input_size,
        is_training=False,
        interpolation=config.interpolation,
        mean=config.mean,
        std=config.std,
        crop_pct=config.crop_pct,
    )
    wanted = transform(Image.open(path).convert("RGB"))
    mean, std = (torch.tensor(v)[:, None, None] for v in (config.mean, config.std))
    got = (torch.from_numpy(pixels.copy()).float() / 255 - mean) / std
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colour_modes_are_converted(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    picture(tmp_path / FIRST / f"a.{suffix}", mode=mode)
    assert next(open_images(tmp_path, SMALL, labelled=True).pixels()).shape == (3, 32, 32)


def test_head_and_sample(folder):
    images = open_images(folder, SMALL, labelled=True)
    assert images.head(2).files == images.files[:2] and images.head(None) == images
    one, two, other = (images.sample(3, seed) for seed in (0, 0, 1))
    assert one == two and one != other
    assert len(set(one.files)) == 3
    assert one.labels == tuple(images.labels[images.files.index(file)] for file in one.files)
    assert len(images.sample(99, 0)) == 5


def test_load_stacks_in_order(folder):
    images = open_images(folder, SMALL, labelled=True)
    assert_array_equal(images.load(), np.stack(list(images.pixels())))
    assert images.load().shape == (5, 3, 32, 32)


def test_images_to_calibrate_with_may_lie_anywhere(tmp_path):
    picture(tmp_path / "a.jpeg")
    picture(tmp_path / "deep" / "er" / "b.PNG")
    (tmp_path / "notes.txt").write_text("no image")
    images = open_images(tmp_path, SMALL, labelled=False)
    assert images.labels == (-1, -1)


def test_missing_folder(tmp_path):
    path = tmp_path / "none"
    assert message(lambda: open_images(path, SMALL, labelled=True)) == (
        f"image folder {path}: no such folder"
    )


def test_folder_without_images(tmp_path):
    (tmp_path / FIRST).mkdir()
    (tmp_path / FIRST / "a.txt").write_text("x")
    text = message(lambda: open_images(tmp_path, SMALL, labelled=True))
    assert text.startswith(f"image folder {tmp_path} holds no images (.bmp, .jpeg, ")


def test_folder_that_is_no_wnid(folder):
    picture(folder / "cats" / "z.png")
    assert message(lambda: open_images(folder, SMALL, labelled=True)) == (
        f"image folder {folder / 'cats'} is not named by an ImageNet-1k wnid (n01440764)"
    )


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "folder"])
def test_unreadable_image_is_named(folder, kind):
    path = folder / FIRST / "broken.png"
    if kind == "folder":
        path.mkdir()
    else:
        whole = (folder / FIRST / "c.png").read_bytes()
        path.write_bytes({"text": b"hello", "empty": b"", "truncated": whole[:200]}[kind])
    images = open_images(folder, SMALL, labelled=True)
    assert message(images.load).startswith(f"image {path} cannot be read: ")


def test_networks_of_one_channel_read_grey(tmp_path):
    path = picture(tmp_path / FIRST / "a.png", (32, 32))
    grey = Preprocessing((1, 32, 32), (0.5,), (0.5,), 1.0)
    pixels = next(open_images(tmp_path, grey, labelled=True).pixels())
    with Image.open(path) as image:
        assert_array_equal(pixels, np.asarray(image.convert("L"))[None])


def test_networks_of_six_channels_read_no_pictures(tmp_path):
    picture(tmp_path / FIRST / "a.png")
    six = Preprocessing((6, 32, 32), (0.5,) * 6, (0.5,) * 6)
    images = open_images(tmp_path, six, labelled=True)
    assert message(lambda: next(images.pixels())) == (
        "images have 1 or 3 channels, and the network reads 6"
    )


def test_a_squashed_picture_is_whole(tmp_path):
    path = tmp_path / FIRST / "a.png"
    path.parent.mkdir()
    wide = np.zeros((32, 128, 3), np.uint8)
    wide[:, :32] = 255
    Image.fromarray(wide).save(path)
    squash = Preprocessing((3, 32, 32), crop_pct=1.0, crop_mode="squash")
    whole = next(open_images(tmp_path, squash, labelled=True).pixels())
    centre = next(open_images(tmp_path, SMALL, labelled=True).pixels())
    assert whole[:, :, 0].min() == 255 and centre.max() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_border_is_filled_with_the_networks_own_mean(tmp_path, channels):
    path = tmp_path / FIRST / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((8, 32, 3), np.uint8)).save(path)
    means, stds = (0.2, 0.4, 0.6)[:channels], (0.5,) * channels
    config = Preprocessing((channels, 32, 32), means, stds, 1.0, crop_mode="border")
    pixels = next(open_images(tmp_path, config, labelled=True).pixels())
    assert pixels[:, 0, 0].tolist() == [51, 102, 153][:channels]
    assert not pixels[:, 16, 16].any()


def test_a_picture_that_is_a_line_is_refused(tmp_path):
    path = tmp_path / FIRST / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((1, 101, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"a\.png cannot be read: its sides differ more than 100-"):
        next(open_images(tmp_path, SMALL, labelled=True).pixels())
