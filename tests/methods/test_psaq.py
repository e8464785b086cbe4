from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.methods.calibration import Calibration
from hwq.methods.patch_entropy import patch_entropy
from hwq.methods.psaq import PsaqSettings, make_images, synthesize, variation
from hwq.methods.workspace import Workspace

FEW = PsaqSettings(count=3, iterations=4, batch=2)


def test_made_images_are_more_diverse_than_noise(tiny_prepared):
    settings = PsaqSettings(count=2, iterations=100, batch=2, learning_rate=0.4)
    made = make_images(tiny_prepared, settings)
    noise = Calibration.noise((3, 32, 32), 8, seed=0)
    assert made.last_loss < made.first_loss / 10
    images = Calibration(made.pixels)
    assert patch_entropy(tiny_prepared, images) > patch_entropy(tiny_prepared, noise)


def test_pixels_are_pixels(tiny_prepared):
    images = synthesize(tiny_prepared, FEW)
    assert images.pixels.dtype == np.uint8 and images.pixels.shape == (3, 3, 32, 32)
    assert not images.synthetic and images.device == "cpu"
    # noise of deviation 57 around 115 at the start, so all of the range is used
    assert images.pixels.min() < 20 and images.pixels.max() > 235


def test_the_seed_decides_every_bit(tiny_prepared):
    one, again = (synthesize(tiny_prepared, FEW, workspace=Workspace(1)).pixels for _ in range(2))
    assert_array_equal(one, again)
    assert (one != synthesize(tiny_prepared, FEW, workspace=Workspace(2)).pixels).any()
    assert (one[0] != one[2]).any()


def test_a_half_done_folder_is_finished_bit_for_bit(tiny_prepared, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    whole.mkdir()
    half.mkdir()
    wanted = make_images(tiny_prepared, FEW, workspace=Workspace(folder=whole))
    assert sorted(path.name for path in whole.iterdir()) == [
        "psaq.0.safetensors",
        "psaq.1.safetensors",
    ]
    (half / "psaq.0.safetensors").write_bytes((whole / "psaq.0.safetensors").read_bytes())
    made = []

    def track(items, what, count):
        made.append((what, count))
        return items

    got = make_images(tiny_prepared, FEW, workspace=Workspace(folder=half, track=track))
    assert made == [("images 3 to 3 of 3", 4)]
    assert_array_equal(got.pixels, wanted.pixels)
    assert (got.first_loss, got.last_loss) == (wanted.first_loss, wanted.last_loss)


def test_killed_in_the_middle_of_a_batch(tiny_prepared, tmp_path):
    class Killed(Exception):
        pass

    def track(items, what, count):
        for item in items:
            if what.startswith("images 3") and item == 2:
                raise Killed
            yield item

    with pytest.raises(Killed):
        synthesize(tiny_prepared, FEW, workspace=Workspace(folder=tmp_path, track=track))
    resumed = synthesize(tiny_prepared, FEW, workspace=Workspace(folder=tmp_path))
    assert_array_equal(resumed.pixels, synthesize(tiny_prepared, FEW).pixels)


def test_variation_is_that_of_a_batch_of_32():
    """32 copies of an image of the published size have the published norm over the batch."""
    image = torch.randn((1, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    x = image.double().expand(32, -1, -1, -1)
    wanted = (
        (x[..., :-1] - x[..., 1:]).square().sum().sqrt()
        + (x[..., :-1, :] - x[..., 1:, :]).square().sum().sqrt()
        + (x[..., 1:, :-1] - x[..., :-1, 1:]).square().sum().sqrt()
        + (x[..., :-1, :-1] - x[..., 1:, 1:]).square().sum().sqrt()
    )
    assert float(variation(image)) == pytest.approx(float(wanted), rel=1e-5)
    # a smaller image of the same texture is as rough
    small = variation(image[..., :112, :112])
    assert float(small) == pytest.approx(float(wanted), rel=0.02)


def test_learning_rate_warms_up_and_decays_twice():
    from hwq.methods.psaq import _position, _rate

    epochs, rates = [], []
    for step in range(1000):
        epoch, progress = _position(step, 1000)
        epochs.append(epoch)
        rates.append(_rate(progress))
    assert epochs == [0] * 500 + [1] * 500
    assert rates[:500] == pytest.approx(rates[500:])
    assert rates[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert all(early > late for early, late in pairwise(rates[99:500]))
    assert rates[499] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("iterations", [2, 3, 7])
def test_few_iterations_have_two_epochs_as_well(iterations):
    from hwq.methods.psaq import _position

    places = [_position(step, iterations) for step in range(iterations)]
    assert {epoch for epoch, _ in places} == {0, 1}
    assert all(0 < progress <= 1 for _, progress in places)


def test_images_are_rolled_and_mirrored():
    from hwq.methods.psaq import _move

    image = torch.zeros((1, 1, 60, 60))
    image[..., 0, 0], image[..., 0, 1] = 1, 2
    generator = torch.Generator().manual_seed(0)
    offsets, mirrored = set(), 0
    for _ in range(300):
        moved = _move(image, 0, generator)
        left, right = (int((moved == value).nonzero()[0, -1]) for value in (1, 2))
        if (right - left) % 60 == 59:
            mirrored += 1
            moved = moved.flip(-1)
        row, column = (moved == 1).nonzero()[0, -2:].tolist()
        assert row == column
        offsets.add((row + 30) % 60 - 30)
    assert offsets == set(range(-4, 5))
    assert 100 < mirrored < 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be a whole number of at least 1, not 0"),
        ({"iterations": 1}, "iterations must be a whole number of at least 2, not 1"),
        ({"iterations": 99.5}, "iterations must be a whole number of at least 2, not 99.5"),
        ({"batch": "all"}, "batch must be a whole number of at least 1, not 'all'"),
        ({"learning_rate": 0}, "learning_rate must be a positive number, not 0"),
        ({"learning_rate": "slow"}, "learning_rate must be a positive number, not 'slow'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SpecError) as caught:
        PsaqSettings(**options)
    assert str(caught.value) == message
