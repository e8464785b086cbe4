from math import sqrt, tau

import numpy as np
import pytest
import torch
from torch import Tensor

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import prepare
from hwq.errors import UsageError
from hwq.graph.import_torch import import_torch
from hwq.methods.calibration import Calibration
from hwq.methods.patch_entropy import (
    AttentionLayer,
    attention_layers,
    entropy,
    layer_entropy,
    patch_entropy,
)


def obvious_entropy(samples: Tensor, bandwidth: float = 0.01) -> Tensor:
    """Kernel density on a grid of 10 points a standard deviation, in float64."""
    grid = torch.arange(-1.04, 1.0401, bandwidth / 10, dtype=torch.float64)
    z = (grid[:, None] - samples.double()) / bandwidth
    density = torch.exp(-0.5 * z.square()).mean(1) / (bandwidth * sqrt(tau)) + 1e-4
    return torch.trapezoid(-density * density.log(), grid)


def draws():
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(1000, generator=generator) * 2 - 1
    narrow = torch.randn(1000, generator=generator) * 0.05 + 0.5
    spikes = torch.cat([torch.full((200,), 1.0), torch.full((50,), -1.0), narrow[:100]])
    return {"wide": wide, "narrow": narrow.clamp(-1, 1), "spikes": spikes}


@pytest.mark.parametrize("name", ["wide", "narrow", "spikes"])
def test_entropy_and_its_gradient_are_those_of_the_obvious_density(name):
    fast = draws()[name].requires_grad_()
    slow = draws()[name].requires_grad_()
    mine, wanted = entropy(fast), obvious_entropy(slow)
    torch.testing.assert_close(mine.double(), wanted, rtol=0, atol=2e-3)
    mine.backward()
    wanted.backward()
    assert torch.nn.functional.cosine_similarity(fast.grad, slow.grad, dim=0) > 0.995
    assert fast.grad.norm() == pytest.approx(float(slow.grad.norm()), rel=0.02)


def test_rows_are_entropies_of_their_own():
    rows = torch.stack([draws()["wide"], draws()["narrow"]])
    together = entropy(rows[None].repeat(2, 1, 1))
    assert together.shape == (2, 2)
    for index in range(2):
        torch.testing.assert_close(together[0, index], entropy(rows[index]))
    assert together[0, 0] > together[0, 1]


def test_similarities_just_beyond_one_are_one():
    assert entropy(torch.tensor([1.0000001, -1.0000001])) == entropy(torch.tensor([1.0, -1.0]))


def test_a_spike_costs_what_a_gaussian_has():
    """A single kernel: 1/2 log(2 pi e h^2), a spike that a coarse grid does not see (trap T20)."""
    wanted = 0.5 * np.log(tau * np.e * 0.01**2)
    for at in (-0.3337, 0.1, 0.9):
        assert float(entropy(torch.full((10,), at))) == pytest.approx(wanted, abs=0.02)


def test_layer_averages_heads_and_drops_the_prefix():
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn((2, 3, 7, 5), generator=generator)
    rows = []
    for image in attention:
        patches = image.mean(0)[2:]
        pairs = [
            torch.nn.functional.cosine_similarity(a, b, dim=0) for a in patches for b in patches
        ]
        rows.append(entropy(torch.stack(pairs)))
    got = layer_entropy(attention, 2)
    assert got.shape == (2,)
    torch.testing.assert_close(got, torch.stack(rows), rtol=0, atol=0.05)
    moved = attention.clone()
    moved[:, :, :2] += 1
    assert torch.equal(layer_entropy(moved, 2), got)


def test_windows_are_averaged():
    attention = torch.randn((2, 4, 3, 7, 5), generator=torch.Generator().manual_seed(0))
    alone = torch.stack([layer_entropy(attention[:, window], 0) for window in range(4)])
    torch.testing.assert_close(layer_entropy(attention, 0), alone.mean(0), rtol=0, atol=1e-5)


def test_layers_are_probabilities_times_values(tiny_prepared):
    wanted = [AttentionLayer(f"blocks.{index}.attn.matmul_1", 1) for index in range(2)]
    assert list(attention_layers(tiny_prepared)) == wanted


@pytest.mark.parametrize(
    ("options", "prefix"),
    [({"class_token": False, "global_pool": "avg"}, 0), ({"reg_tokens": 3}, 4)],
    ids=["no class token", "registers"],
)
def test_only_tokens_that_are_no_patches_are_dropped(make_tiny_vit, options, prefix):
    module = make_tiny_vit(**options)
    graph = run_passes(import_torch(module, (1, 3, 32, 32), "t"), prepare((0.5,) * 3, (0.5,) * 3))
    assert {layer.prefix for layer in attention_layers(graph)} == {prefix}


def test_a_network_without_attention_is_refused(build_graph, grid):
    graph = build_graph((1, 3), {"w": grid(4, 3)}, ("out", "linear", ["image", "w"]))
    with pytest.raises(UsageError, match=r"^model 'small' has no attention over patches"):
        attention_layers(graph)


def test_patch_entropy_is_the_mean_over_images(tiny_prepared):
    noise = Calibration.noise((3, 32, 32), 3, seed=0)
    alone = [patch_entropy(tiny_prepared, Calibration(image[None])) for image in noise.pixels]
    assert patch_entropy(tiny_prepared, noise) == pytest.approx(np.mean(alone), abs=1e-4)
