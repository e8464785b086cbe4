import pytest
import torch

from hwq.errors import SpecError
from hwq.methods.base import Bits
from hwq.methods.minmax import MinMax, pixel_quantizer
from hwq.quantizers.log2 import Log2


@pytest.fixture(scope="module")
def graph(tiny_prepared, tiny_calibration):
    return MinMax().fit(tiny_prepared, tiny_calibration, Bits(4, 8)).graph


def quantizer(graph, name):
    return graph.by_name[name].quantizer


def test_weights_are_symmetric_per_channel(graph, tiny_prepared):
    made = quantizer(graph, "blocks.0.attn.qkv.b")
    weight = torch.tensor(tiny_prepared.constants["blocks.0.attn.qkv.weight"])
    assert made.scale.shape == (96, 1) and made.signed and not made.zero_point.any()
    torch.testing.assert_close(made.scale, weight.abs().amax(1, keepdim=True) / 7)


def test_range_is_the_least_and_the_largest_value_seen(graph, tiny_prepared, tiny_calibration):
    seen = tiny_calibration.collect(tiny_prepared, ["blocks.1.mlp.act"])["blocks.1.mlp.act"]
    made = quantizer(graph, "blocks.1.mlp.fc2.a")
    torch.testing.assert_close(made.scale, (seen.max() - seen.min()) / 255)
    top = made.decode(torch.tensor(255))
    assert abs(float(top - seen.max())) <= float(made.scale)


def test_queries_keys_and_values_are_symmetric(graph):
    for name in ("matmul.a", "matmul.b", "matmul_1.b"):
        made = quantizer(graph, f"blocks.0.attn.{name}")
        assert made.signed and not made.zero_point.any()


def test_pixels_are_their_own_codes(graph):
    made = quantizer(graph, "patch_embed.proj.linear.a")
    pixels = torch.arange(256.0)
    assert torch.equal(made.encode(pixels), torch.arange(256, dtype=torch.int32))
    assert torch.equal(pixel_quantizer().fake_quantize(pixels), pixels)


def test_log2_softmax_is_an_option(tiny_prepared, tiny_calibration):
    graph = MinMax(softmax="log2").fit(tiny_prepared, tiny_calibration, Bits(4, 4)).graph
    assert isinstance(quantizer(graph, "blocks.0.attn.matmul_1.a"), Log2)
    with pytest.raises(SpecError, match=r"^softmax must be one of .* not 'exp'$"):
        MinMax(softmax="exp")
