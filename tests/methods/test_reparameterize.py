import numpy as np
import pytest
import torch

from hwq.graph.verify import verify
from hwq.methods.reparameterize import fold_scales, foldable_layer_norms
from hwq.quantizers.uniform import Uniform
from hwq.runtime.float_executor import TorchExecutor


def per_channel(values, bits):
    rows = values.reshape(-1, values.shape[-1])
    return Uniform.from_range(rows.amin(0), rows.amax(0), bits)


class Elsewhere(torch.Tensor):
    """A tensor on a device: an array only after `cpu`."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def numpy(self):
        raise TypeError("can't convert a device tensor to numpy")


@pytest.fixture(scope="module", params=[4, 8])
def folded(request, tiny_prepared, tiny_calibration):
    names = [node.name for node in foldable_layer_norms(tiny_prepared)]
    values = tiny_calibration.collect(tiny_prepared, names)
    quantizers = {name: per_channel(values[name], request.param) for name in names}
    graph, per_tensor = fold_scales(tiny_prepared, quantizers)
    return graph, per_tensor, quantizers


def test_foldable_are_the_layer_norms_that_only_linear_layers_read(tiny_prepared):
    names = [node.name for node in foldable_layer_norms(tiny_prepared)]
    # the last one is read by a selection of the class token
    assert names == ["blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2"]


def test_float_network_is_unchanged(folded, tiny_prepared, tiny_calibration):
    graph, _, _ = folded
    verify(graph)
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    wanted = TorchExecutor(tiny_prepared)(pixels)["head"]
    assert (TorchExecutor(graph)(pixels)["head"] - wanted).abs().max() <= 1e-4


def test_codes_are_the_same(folded, tiny_prepared, tiny_calibration):
    graph, per_tensor, quantizers = folded
    names = list(quantizers)
    before = tiny_calibration.collect(tiny_prepared, names)
    after = tiny_calibration.collect(graph, names)
    for name in names:
        old = quantizers[name].encode(before[name])
        new = per_tensor[name].encode(after[name])
        differ = (old != new).float().mean()
        # only values that float rounding moves across a tie
        assert differ < 1e-3 and (old - new).abs().max() <= 1, name


def test_zero_point_is_an_integer_of_the_codes(folded):
    _, per_tensor, quantizers = folded
    for name, quantizer in per_tensor.items():
        assert quantizer.scale.numel() == 1 and quantizer.zero_point.numel() == 1
        assert quantizer.zero_point.dtype == torch.int32
        assert 0 <= int(quantizer.zero_point) < 1 << quantizer.bits
        mean = quantizers[name].scale.double().mean()
        assert float(quantizer.scale) == pytest.approx(float(mean))


def test_linear_without_bias_gets_one(build_graph, grid):
    graph = build_graph(
        (1, 5, 4),
        {"g": np.ones(4), "b": np.zeros(4), "w": grid(3, 4)},
        ("norm", "layer_norm", ["image", "g", "b"], {"eps": 1e-6, "centered": True}),
        ("y", "linear", ["norm", "w"]),
    )
    quantizer = Uniform(torch.tensor([0.1, 0.2, 0.4, 0.1]), torch.tensor([3, 9, 0, 15]), 4)
    changed, _ = fold_scales(graph, {"norm": quantizer})
    assert len(changed.by_name["y"].inputs) == 3
    images = torch.randn((2, 5, 4), generator=torch.Generator().manual_seed(0))
    wanted, got = (TorchExecutor(one)(images)["y"] for one in (graph, changed))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_scales_may_be_on_a_device(folded, tiny_prepared):
    graph, per_tensor, quantizers = folded
    there = {
        name: one.with_parameters(
            one.scale.as_subclass(Elsewhere), one.zero_point.as_subclass(Elsewhere)
        )
        for name, one in quantizers.items()
    }
    again, same = fold_scales(tiny_prepared, there)
    for name, value in graph.constants.items():
        np.testing.assert_array_equal(again.constants[name], value)
    assert all(torch.equal(same[name].scale, per_tensor[name].scale) for name in per_tensor)
