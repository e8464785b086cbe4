import pytest
import torch

from hwq.methods.base import Bits
from hwq.methods.repq_vit import RepqViT
from hwq.quantizers.log_sqrt2 import LogSqrt2
from hwq.runtime.float_executor import TorchExecutor


@pytest.fixture(scope="module")
def graph(tiny_prepared, tiny_calibration):
    return RepqViT().fit(tiny_prepared, tiny_calibration, Bits(4, 4)).graph


def quantizer(graph, name):
    return graph.by_name[name].quantizer


def test_layer_norm_outputs_are_per_tensor_after_folding(graph):
    for name in ("blocks.0.attn.qkv.a", "blocks.1.mlp.fc1.a"):
        assert quantizer(graph, name).scale.numel() == 1
    assert any(name.endswith(".folded") for name in graph.constants)


def test_probabilities_take_log_sqrt2_codes(graph):
    assert isinstance(quantizer(graph, "blocks.0.attn.matmul_1.a"), LogSqrt2)


def test_offset_of_the_probabilities_is_the_best(graph, tiny_calibration):
    """Attention times values is disturbed least, among all offsets that were tried."""
    from hwq.methods.sites import find_sites
    from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS

    site = next(s for s in find_sites(graph) if s.name == "blocks.0.attn.matmul_1.a")
    node = graph.by_name[site.source]
    plain = {**FAKE_QUANT_OPS, "quantize": lambda node, x: x[0]}
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    values = graph.by_name["blocks.0.attn.matmul_1.b"].inputs[0]
    got = TorchExecutor(graph, plain)(pixels, [node.inputs[0], values])
    attention, right = got[node.inputs[0]], got[values]

    def error(one):
        return float((one.fake_quantize(attention) @ right - attention @ right).square().mean())

    errors = [error(LogSqrt2(4, offset)) for offset in range(6)]
    assert error(node.quantizer) == pytest.approx(min(errors), rel=1e-4)
    assert min(errors) < max(errors)


def test_without_its_quantizers_the_network_is_unchanged(graph, tiny_prepared, tiny_calibration):
    from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS

    plain = {**FAKE_QUANT_OPS, "quantize": lambda node, x: x[0]}
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    wanted = TorchExecutor(tiny_prepared)(pixels)["head"]
    assert (TorchExecutor(graph, plain)(pixels)["head"] - wanted).abs().max() <= 1e-4


def test_weights_have_a_scale_per_row(graph):
    made = quantizer(graph, "blocks.0.mlp.fc2.b")
    assert made.scale.shape == (32, 1) and made.signed and not made.zero_point.any()
