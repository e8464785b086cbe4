"""The plan of a whole DeiT-Tiny, with real weights on a real image."""

import random

import pytest

from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.errors import HwqError
from hwq.plan.text import from_text, to_text
from hwq.plan.verify import verify
from tests.plan.checks import assert_equal_everywhere, every_tensor, planned
from tests.plan.corrupt import corrupted

EDGE = load_accelerator("edge_16x16")
CORRUPTIONS = 100


@pytest.fixture(scope="module", params=["minmax-w8a8", "repq_vit-w4a4"])
def deit(request, hwq_data, lower):
    """Return program, plan, pixels, and every tensor."""
    from hwq.api.network import open_network
    from hwq.methods.base import Bits
    from hwq.methods.calibration import Calibration
    from hwq.methods.catalog import METHODS
    from hwq.models.images import open_images

    method, bits = request.param.split("-")
    source = open_network(
        "deit_t", hwq_data / "weights/deit_tiny_patch16_224.safetensors", False, 0
    )
    folder = hwq_data / "data/imagenet_calib500"
    images = open_images(folder, source.preprocessing, labelled=False)
    calibration = Calibration(images.sample(8, 0).load())
    fitted = METHODS[method]().fit(source.graph, calibration, Bits.parse(bits))
    graph = lower(fitted.graph)
    program, pixels = emit_program(graph), calibration.pixels[0]
    return program, planned(program, EDGE), pixels, every_tensor(graph, pixels)


def test_every_stored_tensor_and_every_cycle(deit):
    program, plan, pixels, wanted = deit
    assert_equal_everywhere(plan, program, EDGE, pixels, wanted)


def test_the_text_of_a_plan_is_the_plan(deit):
    _, plan, _, _ = deit
    text = to_text(plan)
    again = from_text(text)
    assert again == plan
    assert to_text(again) == text
    verify(again)


@pytest.mark.parametrize("deit", ["minmax-w8a8"], indirect=True)
def test_a_wrong_address_stride_or_transfer_is_caught(deit):
    """By the verifier, or else by what the executor computes."""
    program, plan, pixels, wanted = deit
    text, rng = to_text(plan), random.Random(0)
    by_verifier = 0
    for _ in range(CORRUPTIONS):
        bad, what = corrupted(text, rng)
        try:
            other = from_text(bad)
            verify(other)
        except HwqError as error:
            assert str(error)
            by_verifier += 1
            continue
        try:
            assert_equal_everywhere(other, program, EDGE, pixels, wanted)
        except (AssertionError, HwqError):
            continue
        pytest.fail(what)
    assert by_verifier > 0.95 * CORRUPTIONS
