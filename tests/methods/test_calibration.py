import numpy as np
import torch
from numpy.testing import assert_array_equal

from hwq.methods.calibration import Calibration
from hwq.runtime.float_executor import TorchExecutor


def test_noise_is_seeded_and_says_that_it_is_noise():
    one, two, other = (Calibration.noise((3, 4, 4), 5, seed) for seed in (0, 0, 1))
    assert_array_equal(one.pixels, two.pixels)
    assert (one.pixels != other.pixels).any()
    assert one.pixels.dtype == np.uint8 and one.pixels.shape == (5, 3, 4, 4) and len(one) == 5
    assert one.synthetic and one.head(2).synthetic


def test_of_stacks_images():
    images = [np.full((3, 2, 2), value, np.uint8) for value in (1, 2)]
    calibration = Calibration.of(iter(images))
    assert_array_equal(calibration.pixels, np.stack(images))
    assert not calibration.synthetic


def test_head_keeps_the_first(tiny_calibration):
    assert_array_equal(tiny_calibration.head(3).pixels, tiny_calibration.pixels[:3])
    assert len(tiny_calibration.head(100)) == len(tiny_calibration)


def test_collect_equals_one_run(tiny_prepared):
    calibration = Calibration.noise((3, 32, 32), 19, seed=0)  # more than one batch
    got = calibration.collect(tiny_prepared, ["head", "blocks.0.attn.softmax"])
    wanted = TorchExecutor(tiny_prepared)(torch.from_numpy(calibration.pixels).float())["head"]
    torch.testing.assert_close(got["head"], wanted, rtol=1e-5, atol=1e-5)
    assert got["blocks.0.attn.softmax"].shape == (19, 2, 17, 17)
    assert not got["head"].requires_grad


def test_reduce_and_max_abs(tiny_prepared):
    calibration = Calibration.noise((3, 32, 32), 19, seed=0)
    values = calibration.collect(tiny_prepared, ["head", "add"])
    least = calibration.reduce(tiny_prepared, ["head"], lambda x: x.min())["head"]
    assert least.shape == (2,) and torch.equal(least.min(), values["head"].min())
    peaks = calibration.max_abs(tiny_prepared, ["head", "add"])
    assert peaks == {name: float(value.abs().max()) for name, value in values.items()}
