import pytest
import torch

from hwq.methods.rounding import LearnedRounding
from hwq.quantizers.uniform import Uniform


@pytest.fixture
def weight():
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def quantizer(weight):
    return Uniform.symmetric(weight.abs().amax(1, keepdim=True), 4)


def test_starts_as_the_float_weight(weight, quantizer):
    start = LearnedRounding(weight, quantizer).soft()
    # h is kept from 0 and 1, where it would have no gradient
    assert ((start - weight).abs() <= 0.011 * quantizer.scale).all()


def test_hard_weights_are_on_the_grid_beside_the_float_weight(weight, quantizer):
    hard = LearnedRounding(weight, quantizer).hard()
    codes = quantizer.encode(hard)
    assert torch.equal(quantizer.decode(codes), hard)
    assert ((hard - weight).abs() <= quantizer.scale * 1.0001).all()


def test_alpha_decides_the_direction(weight, quantizer):
    rounding = LearnedRounding(weight, quantizer)
    rounding.alpha = torch.full_like(weight, 9.0)
    up = rounding.hard()
    rounding.alpha = torch.full_like(weight, -9.0)
    down = rounding.hard()
    inside = rounding.floor < quantizer.hi
    assert torch.equal(quantizer.encode(up)[inside], quantizer.encode(down)[inside] + 1)
    assert rounding.indecision(2.0) == 0


def test_gradients_reach_alpha(weight, quantizer):
    rounding = LearnedRounding(weight, quantizer)
    torch.autograd.backward(rounding.soft().square().sum() + rounding.indecision(4.0))
    assert rounding.alpha.grad is not None
    assert (rounding.alpha.grad != 0).float().mean() > 0.5
