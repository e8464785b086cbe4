import pytest
import torch

from hwq.methods.output_search import (
    Choices,
    every_candidate,
    fixed,
    losses,
    output_loss,
    search,
    symmetric_choices,
)
from hwq.methods.product_samples import ProductSample
from hwq.quantizers.twin_uniform import TwinUniform
from hwq.quantizers.uniform import Uniform

FACTORS = torch.linspace(0.05, 1.2, 24)


def linear_sample(rows=40, depth=12, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, depth, generator=generator)
    b = torch.randn(width, depth, generator=generator)
    bias = torch.randn(width, generator=generator)
    grad = torch.rand(rows, width, generator=generator) ** 4
    return ProductSample("linear", a, b, bias, a @ b.T + bias, grad, a.abs().amax(), b.abs().amax())


def matmul_sample(seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.softmax(2 * torch.randn(3, 2, 9, 9, generator=generator), -1)
    b = torch.randn(3, 2, 9, 4, generator=generator)
    grad = torch.randn(3, 2, 9, 4, generator=generator)
    peaks = (a.amax((0, 2, 3)), b.abs().amax((0, 2, 3)))
    return ProductSample("matmul", a, b, None, a @ b, grad, *peaks)


def per_tensor(x, bits=4):
    return symmetric_choices(x.abs().amax()[None], FACTORS, bits, lambda peak: peak[0])


def per_row(x, bits=4):
    return symmetric_choices(x.abs().amax(1), FACTORS, bits, lambda peak: peak[:, None])


def error(sample, a, b, metric):
    """The metric over all outputs, said in another way."""
    got = sample.product(a.decode(a.encode(sample.a)), b.decode(b.encode(sample.b)))
    if metric == "cosine":
        dot = (got * sample.out).sum(-1)
        return float((1 - dot / got.norm(dim=-1) / sample.out.norm(dim=-1)).mean())
    weight = sample.grad if metric == "hessian" else 1.0
    return float((weight * (got - sample.out)).pow(2).sum())


@pytest.mark.parametrize("metric", ["hessian", "mse", "cosine"])
def test_last_choice_is_the_best_of_all(metric):
    """Brute force over every candidate of the operand that was searched last."""
    sample = linear_sample()
    a, b = per_tensor(sample.a), per_tensor(sample.b)
    left, right = search(sample, a, b, "ba", metric, rounds=1)
    errors = [error(sample, a.make(torch.tensor([i])), right, metric) for i in range(24)]
    assert error(sample, left, right, metric) == pytest.approx(min(errors), rel=1e-4)
    start = a.make(torch.tensor([a.start]))
    errors = [error(sample, start, b.make(torch.tensor([i])), metric) for i in range(24)]
    assert error(sample, start, right, metric) == pytest.approx(min(errors), rel=1e-4)


def test_the_metrics_choose_differently():
    scales = set()
    for metric in ("hessian", "mse", "cosine"):
        sample = linear_sample(seed=3)
        found = search(sample, per_tensor(sample.a), per_tensor(sample.b), "ba", metric, 3)
        scales.add(tuple(float(quantizer.scale) for quantizer in found))
    assert len(scales) == 3


@pytest.mark.parametrize("parts", [2, 6])
def test_parts_are_chosen_for_themselves(parts):
    """Each part takes what it would take in a product of its own."""
    sample = linear_sample()
    runs = 6 // parts
    together = symmetric_choices(
        sample.b.reshape(parts, -1).abs().amax(1),
        FACTORS,
        3,
        lambda peak: peak.repeat_interleave(runs)[:, None],
    )
    held = fixed(Uniform.symmetric(sample.a.abs().max(), 4))
    _, found = search(sample, held, together, "ba", "hessian", 1)
    for part in range(parts):
        rows = slice(part * runs, (part + 1) * runs)
        alone = ProductSample(
            "linear",
            sample.a,
            sample.b[rows],
            sample.bias[rows],
            sample.out[:, rows],
            sample.grad[:, rows],
            sample.peak_a,
            sample.peak_b,
        )
        _, one = search(alone, held, per_tensor(alone.b, 3), "ba", "hessian", 1)
        assert torch.equal(found.scale[rows].flatten(), one.scale.expand(runs))


def test_heads_are_chosen_for_themselves_and_a_split_for_all():
    sample = matmul_sample()
    a = Choices(lambda index: TwinUniform.softmax(4, int(index)), 7)
    b = symmetric_choices(sample.peak_b, FACTORS, 4, lambda peak: peak.reshape(1, -1, 1, 1))
    left, right = search(sample, a, b, "ab", "hessian", 3)
    assert right.scale.shape == (1, 2, 1, 1) and left.scale.numel() == 1
    errors = [error(sample, TwinUniform.softmax(4, m), right, "hessian") for m in range(7)]
    assert error(sample, left, right, "hessian") == pytest.approx(min(errors), rel=1e-4)
    assert len(set(errors)) > 1


def test_more_rounds_are_not_worse():
    sample = linear_sample(seed=5)
    a, b = per_tensor(sample.a, 3), per_tensor(sample.b, 3)
    found = [error(sample, *search(sample, a, b, "ba", "mse", n), "mse") for n in (1, 2, 5, 50)]
    assert found == sorted(found, reverse=True)


def test_a_part_without_gradient_keeps_its_range():
    """Where no error counts, the smallest scale would be as good as any (trap T1)."""
    sample = linear_sample()
    sample.grad[:, 2] = 0
    held = fixed(Uniform.symmetric(sample.a.abs().max(), 4))
    _, found = search(sample, held, per_row(sample.b), "ba", "hessian", 3)
    nearest = FACTORS[(FACTORS - 1).abs().argmin()]
    assert float(found.scale[2]) == pytest.approx(float(sample.b[2].abs().max() * nearest / 7))


def test_loss_of_a_channel_compares_its_positions():
    sample = linear_sample()
    out = sample.out + torch.randn(sample.out.shape, generator=torch.Generator().manual_seed(1))
    got = output_loss(out.clone(), sample, 6, "cosine")
    wanted = 1 - torch.cosine_similarity(out, sample.out, dim=0)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        output_loss(out.clone(), sample, 6, "mse"), (out - sample.out).square().sum(0)
    )


def test_losses_are_of_the_numbers_asked_for():
    sample = linear_sample()
    b = per_row(sample.b)
    held = Uniform.symmetric(sample.a.abs().max(), 4)
    table = losses(sample, "b", b, every_candidate(b), held, "mse")
    assert table.shape == (24, 6) and table.dtype == torch.float64
    some = torch.tensor([[3, 0, 5, 5, 23, 7]])
    torch.testing.assert_close(
        losses(sample, "b", b, some, held, "mse")[0], table[some[0], torch.arange(6)]
    )


def test_choices_of_one_are_left_alone():
    sample = linear_sample()
    quantizer = Uniform.symmetric(1.0, 4)
    left, right = search(sample, fixed(quantizer), fixed(quantizer), "ab", "mse", 3)
    assert left is quantizer and right is quantizer
