import pytest
import torch
from torch import nn

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import prepare
from hwq.errors import ImportGraphError
from hwq.graph import import_torch
from hwq.runtime.import_check import check_import, random_pixels

SHAPE = (3, 32, 32)
MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.25)


def check(module, mean=MEAN, std=STD):
    """Import and prepare a module as `hwq.api` does, perhaps for another mean and std."""
    imported = import_torch.trace(module, (1, *SHAPE), "tiny")
    pixels = random_pixels(SHAPE)
    by_channel = (torch.tensor(values).double()[:, None, None] for values in (MEAN, STD))
    centre, width = by_channel
    prepared = run_passes(imported.graph, prepare(mean, std))
    images = ((pixels / 255 - centre) / width).float()
    check_import(module, imported, prepared, images, pixels.float())


def test_pixels_are_of_two_seeds_and_of_8_bits():
    pixels = random_pixels(SHAPE)
    assert pixels.shape == (2, *SHAPE) and not torch.equal(*pixels)
    assert torch.equal(pixels, random_pixels(SHAPE))
    assert pixels.min() == 0 and pixels.max() == 255 and torch.equal(pixels, pixels.round())


def test_a_network_is_itself(make_tiny_vit):
    check(make_tiny_vit())


@pytest.mark.parametrize(
    ("overload", "wrong", "named"),
    [
        ("add.Tensor", "sub.Tensor", r"add.*, the graph's aten\.add\.Tensor in module '\(root\)'"),
        ("gelu.default", "detach.default", None),
        ("select.int", None, "its shape is"),
    ],
)
def test_a_wrong_rule_is_caught_at_the_first_tensor(
    make_tiny_vit, monkeypatch, overload, wrong, named
):
    rules = dict(import_torch.RULES)
    rules[overload] = rules[wrong] if wrong else lambda build, x, dim, index: x
    monkeypatch.setattr(import_torch, "RULES", rules)
    with pytest.raises(ImportGraphError, match=named or "is not the module's"):
        check(make_tiny_vit(depth=1))


def test_an_error_behind_a_tiny_layer_scale_is_caught(make_tiny_vit, monkeypatch):
    """In the logits it would drown: the branch adds a hundred-thousandth."""
    rules = dict(import_torch.RULES)
    rules["gelu.default"] = lambda build, x, approximate="none": build.emit("mul", [x, 0.5])
    module = make_tiny_vit(depth=1, init_values=1.0)
    with torch.no_grad():
        for scale in (module.blocks[0].ls1.gamma, module.blocks[0].ls2.gamma):
            scale.fill_(1e-5)
    check(module)
    monkeypatch.setattr(import_torch, "RULES", rules)
    with pytest.raises(
        ImportGraphError, match=r"aten\.gelu\.default in module 'blocks\.0\.mlp\.act'"
    ):
        check(module)


def test_a_wrong_preparation_is_caught(make_tiny_vit):
    wanted = r"^model 'tiny': the graph that is prepared for 8-bit pixels is not the module: output"
    with pytest.raises(ImportGraphError, match=wanted):
        check(make_tiny_vit(), mean=STD, std=MEAN)


class Mixing(nn.Module):
    def forward(self, x):
        return x * 1 + x.mean(0, keepdim=True)


def test_images_that_influence_each_other_are_refused():
    with pytest.raises(
        ImportGraphError, match="for one image of a batch, the graph is not the module: output add"
    ):
        check(Mixing())


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)


class Single(nn.Module):
    def forward(self, x):
        return x.reshape(1, 3, 1024) * 2


@pytest.mark.parametrize("module", [Turned(), Single()], ids=["batch axis second", "one image"])
def test_a_batch_axis_that_is_not_the_first(module):
    check(module)
