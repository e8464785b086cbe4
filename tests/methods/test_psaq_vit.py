import pytest
import torch

from hwq.errors import UsageError
from hwq.graph.text import to_text
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.minmax import MinMax
from hwq.methods.psaq import PsaqSettings, synthesize
from hwq.methods.psaq_vit import PsaqViT
from hwq.methods.workspace import Workspace

BITS = Bits(4, 6)
METHOD = PsaqViT(count=3, iterations=2, batch=2)


@pytest.fixture(scope="module")
def fitted(tiny_prepared, tiny_calibration):
    return METHOD.fit(tiny_prepared, tiny_calibration, BITS)


def test_given_images_are_not_calibrated_on(fitted, tiny_prepared):
    other = METHOD.fit(tiny_prepared, Calibration.noise((3, 32, 32), 4, seed=5), BITS)
    assert to_text(other.graph) == to_text(fitted.graph)
    assert fitted.notes[0] == "calibrated on 3 synthesised images; no data used"


def test_it_is_minmax_of_the_made_images(tiny_prepared, tiny_calibration):
    """Of all of them, also where they are more than minmax looks at."""
    method = PsaqViT(count=MinMax.images + 2, iterations=2, batch=40)
    settings = PsaqSettings(count=MinMax.images + 2, iterations=2, batch=40)
    images = synthesize(tiny_prepared, settings, workspace=Workspace(7))
    wanted = MinMax(softmax_bits=8).fit_all(tiny_prepared, images, BITS)
    got = method.fit(tiny_prepared, tiny_calibration, BITS, Workspace(7))
    assert to_text(got.graph) == to_text(wanted.graph)
    fewer = MinMax(softmax_bits=8).fit(tiny_prepared, images, BITS)
    assert to_text(got.graph) != to_text(fewer.graph)


def test_probabilities_have_eight_bits_at_every_width(fitted, tiny_prepared, tiny_calibration):
    quantizer = fitted.graph.by_name["blocks.0.attn.matmul_1.a"].quantizer
    assert quantizer.bits == 8
    assert fitted.graph.by_name["blocks.0.attn.matmul_1.b"].quantizer.bits == 6
    assert fitted.notes[1:] == ("attention probabilities have 8-bit codes",)
    assert len(METHOD.fit(tiny_prepared, tiny_calibration, Bits(4, 8)).notes) == 1


def test_findings_compare_with_noise_and_with_given_images(fitted, tiny_prepared):
    assert set(fitted.findings) == {
        "synthesised_images",
        "first_loss",
        "last_loss",
        "patch_entropy_noise",
        "patch_entropy_synthesised",
        "patch_entropy_given",
    }
    assert fitted.findings["synthesised_images"] == 3
    blind = METHOD.fit(tiny_prepared, Calibration.noise((3, 32, 32), 4, seed=5), BITS)
    assert "patch_entropy_given" not in blind.findings


def test_batches_are_kept_in_the_workspace(tiny_prepared, tiny_calibration, fitted, tmp_path):
    for _ in range(2):
        again = METHOD.fit(tiny_prepared, tiny_calibration, BITS, Workspace(folder=tmp_path))
        assert to_text(again.graph) == to_text(fitted.graph) and again.findings == fitted.findings
        assert {path.stem for path in tmp_path.iterdir()} == {"psaq.0", "psaq.1"}


def test_options_are_fields():
    method = METHODS["psaq_vit"](count=5, iterations=10)
    assert (method.count, method.iterations, method.batch) == (5, 10, 8)


def test_a_network_without_attention_is_refused(build_graph, grid):
    graph = build_graph((1, 3), {"w": grid(4, 3)}, ("out", "linear", ["image", "w"]))
    with pytest.raises(UsageError, match="no attention over patches"):
        METHOD.fit(graph, Calibration(torch.zeros((1, 3), dtype=torch.uint8).numpy()), BITS)
