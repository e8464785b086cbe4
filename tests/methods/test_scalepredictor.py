from dataclasses import replace

import numpy as np
import pytest
import torch

from hwq.errors import UsageError
from hwq.graph.text import to_text
from hwq.methods.base import METHODS, Bits
from hwq.methods.calibration import Calibration
from hwq.methods.scalepredictor import OFFSETS, ScalePredictor, find_taps, predictable, tabulate
from hwq.quantizers.dynamic import Dynamic
from hwq.runtime.fake_quant_executor import FakeQuantExecutor

BITS = Bits(4, 4)


@pytest.fixture(scope="module")
def base(tiny_prepared, tiny_calibration):
    return METHODS["minmax"]().fit(tiny_prepared, tiny_calibration, BITS)


@pytest.fixture(scope="module")
def contrasts():
    """Images of very different contrast: what the scales should be follows from the ranges."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-127, 128, (48, 3, 32, 32))
    contrast = rng.uniform(0.05, 1.0, (48, 1, 1, 1))
    return Calibration((128 + noise * contrast).astype(np.uint8))


def test_taps_are_the_residual_stream_of_the_first_blocks(tiny_prepared):
    assert find_taps(tiny_prepared, 1) == ("add",)
    assert find_taps(tiny_prepared, 2) == ("add", "blocks.0.add_1")
    with pytest.raises(UsageError, match=r"^model 'tiny' has 5 residual sums, too few for taps$"):
        find_taps(tiny_prepared, 4)


def test_predictable_are_linear_inputs_behind_the_taps(base):
    names = predictable(base.graph, "blocks.0.add_1")
    assert names == [
        "blocks.1.attn.qkv.a",
        "blocks.1.attn.proj.a",
        "blocks.1.mlp.fc1.a",
        "blocks.1.mlp.fc2.a",
        "head.a",
    ]
    assert set(names) < set(predictable(base.graph, "add"))


def test_a_model_without_blocks_behind_the_taps_is_refused(tiny_prepared, tiny_calibration):
    with pytest.raises(UsageError):
        ScalePredictor(base="minmax", taps=4).fit(tiny_prepared, tiny_calibration, BITS)


def test_it_cannot_be_its_own_base(tiny_prepared, tiny_calibration):
    with pytest.raises(UsageError, match=r"^scalepredictor cannot be its own base$"):
        ScalePredictor(base="scalepredictor").fit(tiny_prepared, tiny_calibration, BITS)


def test_noise_is_not_fitted_but_counted(tiny_prepared):
    noise = Calibration.noise((3, 32, 32), 4, seed=0)
    fitted = ScalePredictor(base="minmax").fit(tiny_prepared, noise, BITS)
    assert "not fitted" in fitted.notes[-1] and "5 scales" in fitted.notes[-1]
    predictor = fitted.graph.by_name["scale_predictor"].attrs["predictor"]
    assert not predictor.coefficients.any() and not predictor.biases.any()
    plain = METHODS["minmax"]().fit(tiny_prepared, noise, BITS).graph
    pixels = torch.from_numpy(noise.pixels).float()
    wanted = FakeQuantExecutor(plain)(pixels)["head"]
    assert torch.equal(FakeQuantExecutor(fitted.graph)(pixels)["head"], wanted)


def test_closed_gates_give_the_base_method_and_say_so(tiny_prepared, tiny_calibration, base):
    fitted = ScalePredictor(base="minmax", min_r2=1.0).fit(tiny_prepared, tiny_calibration, BITS)
    assert to_text(fitted.graph) == to_text(base.graph)
    assert "0 of 5 gates open; every scale stays static" in fitted.notes[-1]
    assert fitted.findings["gates_open"] == 0


def test_open_gates_make_their_quantizers_dynamic(tiny_prepared, contrasts, lower):
    fitted = ScalePredictor(base="minmax").fit(tiny_prepared, contrasts, BITS)
    opened = [row["name"] for row in fitted.findings["per_scale"] if row["open"]]
    assert opened, fitted.findings
    dynamic = {
        node.name: node.attrs["quantizer"].index
        for node in fitted.graph.nodes
        if isinstance(node.attrs.get("quantizer"), Dynamic)
    }
    assert dynamic == {name: index for index, name in enumerate(opened)}
    assert f"{len(opened)} of 5 gates open" in fitted.notes[-1]
    assert "reconstruction" in " ".join(fitted.notes)
    lower(fitted.graph)


def test_open_gates_lower_the_error_of_what_they_quantise(tiny_prepared, contrasts):
    """On images that the fit did not see."""
    fresh = Calibration(contrasts.pixels[::-1][:16].copy())
    seen = Calibration(contrasts.pixels[:32])
    fitted = ScalePredictor(base="minmax").fit(tiny_prepared, seen, BITS)
    plain = METHODS["minmax"]().fit(tiny_prepared, seen, BITS).graph
    opened = [row["name"] for row in fitted.findings["per_scale"] if row["open"]]
    assert opened
    better = 0
    for name in opened:
        errors = []
        for graph in (plain, fitted.graph):
            source = graph.by_name[name].inputs[0]
            got = fresh.collect(graph, [source, name])
            errors.append(float((got[name] - got[source]).square().mean()))
        better += errors[1] < errors[0]
    assert better > len(opened) / 2


def test_base_and_its_options_are_passed_on(tiny_prepared, tiny_calibration):
    method = ScalePredictor(base="minmax", base_options={"softmax": "log2"}, min_r2=1.0)
    fitted = method.fit(tiny_prepared, tiny_calibration, BITS)
    assert fitted.graph.by_name["blocks.0.attn.matmul_1.a"].attrs["quantizer"].name == "log2"


def test_errors_are_tabulated_at_every_offset(base, tiny_calibration):
    from hwq.methods.scalepredictor import _with_ranges

    graph = _with_ranges(base.graph, find_taps(base.graph, 2))
    names = ["blocks.1.mlp.fc1.a"]
    images = tiny_calibration.head(2)
    ranges, errors = tabulate(graph, names, images)
    assert ranges.shape == (2, 64) and errors.shape == (2, 1, len(OFFSETS))
    source = base.graph.by_name[names[0]].inputs[0]
    x = images.collect(base.graph, [source])[source][:, ::4]
    quantizer = base.graph.by_name[names[0]].attrs["quantizer"]
    for k in (0, 12, 24):
        scaled = replace(quantizer, scale=quantizer.scale * 2.0 ** OFFSETS[k])
        wanted = (scaled.fake_quantize(x) - x).square().flatten(1).mean(1)
        torch.testing.assert_close(errors[:, 0, k], wanted)
