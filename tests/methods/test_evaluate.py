import numpy as np
import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER
from hwq.methods.evaluate import evaluate, layer_sqnr_db, sqnr_db
from hwq.quantizers.per_patch_outlier import PerPatchOutlier
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.integer_executor import IntegerExecutor


@pytest.fixture(scope="module")
def networks(tiny_prepared, quantise):
    hoisted = run_passes(quantise("minmax", "w8a8"), HOIST)
    return tiny_prepared, hoisted, run_passes(hoisted, LOWER)


def test_figures_are_those_of_the_executors(networks, tiny_calibration):
    pixels = np.concatenate([tiny_calibration.pixels] * 3)  # more than one batch
    with torch.no_grad():
        guess = FakeQuantExecutor(networks[0])(torch.from_numpy(pixels).float())["head"].argmax(1)
    labels = guess.tolist()
    labels[0] = (labels[0] + 1) % 10
    seen = []

    def track(items, what, count):
        seen.append((what, count))
        return items

    evaluation = evaluate(*networks, iter(pixels), labels, track)
    result, saturations = evaluation.accuracy, evaluation.saturations
    assert result.images == 24 and seen == [("accuracy", 24)]
    assert result.top1_fp32 == pytest.approx(100 * 23 / 24)
    runs = IntegerExecutor(networks[2]).run_batch(list(pixels))
    mine = [int(run.values["head"].argmax()) for run in runs]
    hits = sum(one == label for one, label in zip(mine, labels, strict=True))
    assert result.top1_integer == pytest.approx(100 * hits / 24)
    same = sum(one == other for one, other in zip(mine, guess.tolist(), strict=True))
    assert result.agreement_fp32 == pytest.approx(100 * same / 24)
    assert result.logit_sqnr_db > 25
    for name in saturations:
        assert saturations[name] == sum(run.saturations[name] for run in runs), name


def test_layers_are_compared_with_the_float_network(networks, tiny_calibration):
    figures = layer_sqnr_db(networks[1], networks[2], tiny_calibration.pixels[:2])
    assert {"blocks.0.attn.softmax", "blocks.1.add_1", "head"} <= set(figures)
    assert figures["patch_embed.proj.linear"] > figures["head"] > 15
    assert all(value > 10 for value in figures.values()), min(figures.items(), key=lambda i: i[1])


def test_codes_without_their_outliers_are_left_out(quantise, tiny_calibration):
    hoisted = run_passes(quantise("adfq_vit", "w8a8"), HOIST)
    integer = run_passes(hoisted, LOWER)
    figures = layer_sqnr_db(hoisted, integer, tiny_calibration.pixels[:1])
    kinds = {node.name: type(node.output.quant) for node in integer.nodes}
    assert PerPatchOutlier in kinds.values() and "head" in figures
    assert not any(kinds[name] is PerPatchOutlier for name in figures)


def test_sqnr():
    signal = torch.tensor([3.0, 4.0])
    assert sqnr_db(signal, signal) == float("inf")
    assert sqnr_db(signal, signal + torch.tensor([0.3, 0.4])) == pytest.approx(20.0, abs=1e-4)
    assert sqnr_db(torch.zeros(2), signal) < -100
