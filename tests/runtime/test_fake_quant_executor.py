from dataclasses import replace

import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.float_executor import TorchExecutor

METHODS = ["minmax", "minmax/log2", "repq_vit", "scalepredictor/minmax", "scalepredictor/repq_vit"]


def images(calibration, count=4):
    return torch.from_numpy(calibration.pixels[:count]).float()


def test_graph_without_quantize_runs_in_float(tiny_prepared, tiny_calibration):
    pixels = images(tiny_calibration)
    assert torch.equal(
        FakeQuantExecutor(tiny_prepared)(pixels)["head"],
        TorchExecutor(tiny_prepared)(pixels)["head"],
    )


@pytest.mark.parametrize("bits", ["w8a8", "w4a4"])
@pytest.mark.parametrize("method", METHODS)
def test_hoisted_graph_is_equal(quantise, tiny_calibration, method, bits):
    graph = quantise(method, bits)
    hoisted = run_passes(graph, HOIST)
    assert len(hoisted.nodes) < len(graph.nodes)
    pixels = images(tiny_calibration)
    wanted = FakeQuantExecutor(graph)(pixels)["head"]
    assert torch.equal(FakeQuantExecutor(hoisted)(pixels)["head"], wanted)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_the_image(quantise, tiny_calibration, method):
    pixels = images(tiny_calibration, 2).requires_grad_()
    graph = quantise(method, "w8a8")
    FakeQuantExecutor(graph)(pixels)["head"].square().sum().backward()
    assert pixels.grad.isfinite().all()
    assert (pixels.grad != 0).float().mean() > 0.9


def test_gradients_reach_the_corrections(quantise, tiny_calibration):
    graph = quantise("scalepredictor/minmax", "w4a4")
    node = graph.by_name["scale_predictor"]
    predictor = node.attrs["predictor"]
    learned = {
        name: getattr(predictor, name).clone().requires_grad_()
        for name in ("coefficients", "biases", "projection")
    }
    attrs = {**node.attrs, "predictor": replace(predictor, **learned)}
    nodes = tuple(replace(n, attrs=attrs) if n is node else n for n in graph.nodes)
    executor = FakeQuantExecutor(replace(graph, nodes=nodes))
    executor(images(tiny_calibration))["head"].square().sum().backward()
    for name, value in learned.items():
        assert value.grad is not None and value.grad.isfinite().all(), name
    assert (learned["biases"].grad != 0).all()


def test_corrections_differ_from_image_to_image(quantise, tiny_calibration):
    graph = quantise("scalepredictor/minmax", "w8a8")
    got = FakeQuantExecutor(graph)(images(tiny_calibration), ["scale_predictor"])
    assert (got["scale_predictor"].std(0) > 0).all()


def test_range_statistic(quantise, tiny_calibration):
    graph = quantise("scalepredictor/minmax", "w8a8")
    node = next(node for node in graph.nodes if node.op == "range_extract")
    got = FakeQuantExecutor(graph)(images(tiny_calibration), [node.inputs[0], node.name])
    tokens, ranges = got[node.inputs[0]], got[node.name]
    chunk = node.attrs["chunk_tokens"]
    parts = [tokens[:, i : i + chunk] for i in range(0, tokens.shape[1], chunk)]
    wanted = sum(part.max(1).values - part.min(1).values for part in parts)
    torch.testing.assert_close(ranges, wanted, rtol=1e-6, atol=1e-5)


def test_eight_bits_are_near_float(quantise, tiny_prepared, tiny_calibration):
    pixels = images(tiny_calibration, 8)
    wanted = FakeQuantExecutor(tiny_prepared)(pixels)["head"]
    noise = {}
    for bits in ("w8a8", "w6a6", "w4a4"):
        got = FakeQuantExecutor(quantise("minmax", bits))(pixels)["head"]
        noise[bits] = ((got - wanted).square().sum() / wanted.square().sum()).item()
    assert noise["w8a8"] < 1e-3 < noise["w4a4"]
    assert noise["w8a8"] < noise["w6a6"] < noise["w4a4"]
