import pytest
import torch
import torch.nn.functional as F

from hwq.methods.product_samples import sample_products, systematic
from hwq.methods.workspace import Workspace
from hwq.runtime.float_executor import TorchExecutor

TOKENS = 17


@pytest.fixture(scope="module")
def samples(tiny_prepared, tiny_calibration):
    return sample_products(tiny_prepared, tiny_calibration, TOKENS, gradients=True)


@pytest.fixture(scope="module")
def pixels(tiny_calibration):
    return torch.from_numpy(tiny_calibration.pixels).float()


def test_every_product_has_a_sample(samples):
    assert len(samples) == 2 * 6 + 2
    fc1, values = samples["blocks.0.mlp.fc1"], samples["blocks.1.attn.matmul_1"]
    assert fc1.a.shape == (8 * TOKENS, 32) and fc1.b.shape == (64, 32)
    assert fc1.out.shape == fc1.grad.shape == (8 * TOKENS, 64)
    assert values.a.shape == (8, 2, TOKENS, TOKENS) and values.b.shape == (8, 2, TOKENS, 16)
    assert samples["head"].a.shape == (8, 32)  # it has one token


def test_outputs_are_those_of_the_operands(samples):
    for name, sample in samples.items():
        product = sample.product(sample.a, sample.b)
        torch.testing.assert_close(product, sample.out, rtol=1e-4, atol=1e-4, msg=name)


def test_peaks_are_of_all_tokens(tiny_prepared, tiny_calibration, pixels):
    few = sample_products(tiny_prepared, tiny_calibration, 2, gradients=False)
    product = tiny_prepared.by_name["blocks.0.attn.matmul"]
    q, k = product.inputs
    seen = TorchExecutor(tiny_prepared)(pixels, [q, k, "blocks.0.norm2"])
    sample = few["blocks.0.attn.matmul"]
    torch.testing.assert_close(sample.peak_a, seen[q].abs().amax((0, 2, 3)))
    torch.testing.assert_close(sample.peak_b, seen[k].abs().amax((0, 2, 3)))
    assert sample.grad is None
    torch.testing.assert_close(few["blocks.0.mlp.fc1"].peak_a, seen["blocks.0.norm2"].abs().amax())


def test_gradient_is_that_of_the_networks_own_label(samples, tiny_prepared, pixels):
    """The gradient of the published loss would be zero (trap T1)."""
    grad = samples["head"].grad
    logits = TorchExecutor(tiny_prepared)(pixels)["head"]
    wanted = torch.softmax(logits, 1) - F.one_hot(logits.argmax(1), 10)
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(grad, wanted / wanted.abs().max(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["blocks.0.attn.matmul", "blocks.1.mlp.fc1"])
def test_gradient_of_an_inner_product(samples, tiny_prepared, pixels, name):
    """By a number added to every output of the product; up to one factor."""
    node = tiny_prepared.by_name[name]
    probe = torch.zeros(8, *node.output.shape, requires_grad=True)
    plain = TorchExecutor(tiny_prepared).functions
    loss = torch.zeros(())
    for image, extra in zip(pixels, probe, strict=True):

        def product(node, x, extra=extra):
            out = plain[node.op](node, x)
            return out + extra if node.name == name else out

        executor = TorchExecutor(tiny_prepared, {**plain, node.op: product})
        logits = executor.run({"image": image[None]}, ["head"])["head"]
        loss = loss + F.cross_entropy(logits, logits.argmax(1))
    (wanted,) = torch.autograd.grad(loss, [probe])
    assert wanted.abs().max() > 1e-6
    wanted = (wanted / wanted.abs().max()).reshape(samples[name].grad.shape)
    torch.testing.assert_close(samples[name].grad, wanted, rtol=1e-3, atol=1e-5)


def test_only_the_class_token_matters_at_the_end(tiny_prepared, tiny_calibration):
    """Rows are drawn where the gradient is; a tenth of them anywhere."""
    few = sample_products(tiny_prepared, tiny_calibration, 10, gradients=True)
    energy = few["blocks.1.mlp.fc2"].grad.square().sum(1).reshape(8, 10)
    assert ((energy > 0).sum(1) >= 8).all()
    other = few["blocks.0.mlp.fc2"].grad.square().sum(1).reshape(8, 10)
    assert (other > 0).all()


def test_drawn_rows_stand_for_all(samples, tiny_prepared, tiny_calibration):
    """The mean of the sampled squared gradients over many draws is their sum over all rows."""
    name = "blocks.0.mlp.fc1"
    whole = samples[name].grad.square().sum(0)
    mean = torch.zeros_like(whole)
    for seed in range(12):
        sample = sample_products(tiny_prepared, tiny_calibration, 4, True, Workspace(seed=seed))[
            name
        ]
        mean += sample.grad.square().sum(0)
    torch.testing.assert_close(mean / mean.sum(), whole / whole.sum(), rtol=0.3, atol=1e-3)


def test_systematic_draws_in_proportion():
    index, chance = systematic(torch.tensor([0.0, 3.0, 1.0], dtype=torch.float64), 1000, 0.5)
    share = torch.tensor([1 / 30, 0.675 + 1 / 30, 0.225 + 1 / 30], dtype=torch.float64)
    torch.testing.assert_close(chance, share[index])
    counts = torch.bincount(index, minlength=3)
    assert (counts - 1000 * share).abs().max() <= 1


def test_equal_rows_are_drawn_once():
    for energy in (torch.ones(17), torch.zeros(17)):
        index, chance = systematic(energy.double(), 17, 0.3)
        assert index.tolist() == list(range(17))
        torch.testing.assert_close(chance, torch.full((17,), 1 / 17, dtype=torch.float64))
    index, _ = systematic(torch.ones(17).double(), 5, 0.999)
    assert len(set(index.tolist())) == 5 and int(index.max()) < 17
