import numpy as np
import pytest
import torch

from hwq.api.accuracy import chance_notes, check_classes, check_picture, guess_picture
from hwq.api.simulation import lower
from hwq.errors import UsageError
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.runtime.fake_quant_executor import FakeQuantExecutor


@pytest.mark.parametrize("shape", [(1, 10), (1, 21843), (1, 5, 1000), (1, 0)])
def test_networks_without_imagenets_classes_are_refused_and_their_output_told(build_graph, shape):
    graph = build_graph((1, *shape[1:]), {}, ("out", "add", ("image", "image")))
    with pytest.raises(UsageError) as caught:
        check_classes(graph)
    assert str(caught.value) == (
        "data: accuracy needs ImageNet-1k's 1000 classes, an output of [1, 1000]; that of 'small' "
        f"is {list(shape)}"
    )


def test_networks_with_imagenets_classes_pass(build_graph):
    check_classes(build_graph((1, 1000), {}, ("out", "add", ("image", "image"))))


@pytest.mark.parametrize(
    ("images", "hits", "warned"),
    [
        (100, 0, True),
        (100, 1, True),
        (100, 2, False),
        (650, 3, True),
        (650, 4, False),
        (99, 0, False),
        (100, None, False),
    ],
)
def test_a_float_network_at_chance_is_warned_of(images, hits, warned):
    notes = chance_notes(None if hits is None else 100.0 * hits / images, images)
    assert bool(notes) == warned
    assert all(f"{hits} of {images} images" in note for note in notes)


def test_the_guesses_are_the_networks_own(build_graph, float_network):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    graph = float_network.graph
    images = Calibration.noise((3, 32, 32), 2, 0)
    quantized = METHODS["minmax"]().fit(graph, images, Bits.parse("w8a8"))
    picture = guess_picture("a.png", pixels, graph, quantized.graph, lower(quantized))
    logits = FakeQuantExecutor(graph)(torch.from_numpy(pixels)[None].float())[graph.outputs[0]]
    order = logits.detach().flatten().argsort(descending=True)[:5].tolist()
    assert [guess.index for guess in picture.float32] == order
    assert all(guess.name is None for guess in picture.integer)
    for guesses in (picture.float32, picture.fake_quant, picture.integer):
        chances = [guess.probability for guess in guesses]
        assert len(chances) == 5 and chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 1
    nearest = {guess.index: guess.probability for guess in picture.fake_quant}
    for guess in picture.integer:
        assert guess.probability == pytest.approx(nearest[guess.index], abs=0.05)


def test_tokens_are_no_classes(build_graph):
    graph = build_graph((1, 4, 10), {}, ("out", "add", ("image", "image")))
    with pytest.raises(UsageError, match=r"it needs an output of \[1, classes\].* \[1, 4, 10\]$"):
        check_picture(graph)
