import pytest
import torch

from hwq.methods import search
from hwq.quantizers.uniform import Uniform


def noise(count=4096, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def error(quantizer, x):
    return float((quantizer.fake_quantize(x) - x).square().mean())


def test_least_error_picks_the_best_candidate():
    x = noise()
    candidates = [Uniform.symmetric(peak, 4) for peak in (8.0, 4.0, 2.5, 1.0, 0.2)]
    best = search.least_error(x, candidates)
    assert best is min(candidates, key=lambda q: error(q, x))
    assert best is candidates[2]


def test_the_first_of_equals_wins():
    candidates = [Uniform.symmetric(1.0, 4), Uniform.symmetric(1.0, 4)]
    assert search.least_error(noise(), candidates) is candidates[0]


@pytest.mark.parametrize("find", [search.asymmetric, search.symmetric])
def test_an_outlier_is_clipped_when_that_costs_less(find):
    x = torch.cat([noise(1 << 17), torch.tensor([100.0])])
    plain = find(x, 4, fractions=(1.0,))
    chosen = find(x, 4)
    assert float(chosen.scale) < float(plain.scale) / 5
    assert error(chosen, x) < error(plain, x)


@pytest.mark.parametrize("find", [search.asymmetric, search.symmetric])
def test_no_candidate_is_better(find):
    x = noise().abs() ** 2
    chosen = find(x, 6)
    for fraction in search.PERCENTILES:
        assert error(chosen, x) <= error(find(x, 6, fractions=(fraction,)), x)


def test_rows_are_searched_one_by_one():
    weight = noise(16 * 64).reshape(16, 64) * torch.logspace(-2, 2, 16)[:, None]
    weight[3, 5] = 20 * weight[3].abs().max()
    chosen = search.symmetric_per_row(weight, 4)
    assert chosen.scale.shape == (16, 1) and chosen.signed and not chosen.zero_point.any()
    got = (chosen.fake_quantize(weight) - weight).square().sum(1)
    peak = weight.abs().amax(1, keepdim=True)
    for factor in (1.0, 0.96, 0.72, 0.4):
        other = Uniform.symmetric(peak * factor, 4)
        rival = (other.fake_quantize(weight) - weight).square().sum(1)
        assert (got <= rival * (1 + 1e-6)).all(), factor


def test_zero_rows_do_no_harm():
    weight = torch.zeros(2, 8)
    weight[1] = 1.0
    chosen = search.symmetric_per_row(weight, 4)
    assert torch.equal(chosen.fake_quantize(weight)[0], torch.zeros(8))
    assert chosen.scale.isfinite().all() and (chosen.scale > 0).all()


def test_quantiles_are_values_that_occur():
    x = torch.arange(101.0)
    found = [float(search.quantile(x, fraction)) for fraction in (0.0, 0.01, 0.5, 0.99, 1.0)]
    assert found == [0.0, 1.0, 50.0, 99.0, 100.0]


def test_samples_are_seeded_and_bounded():
    x = torch.arange(float((1 << 17) + 1))
    drawn = search.sample(x)
    assert drawn.numel() == 1 << 17
    assert torch.equal(drawn, search.sample(x)) and not torch.equal(drawn, search.sample(x, 1))
    assert torch.equal(search.sample(x[:100].reshape(10, 10)), x[:100])
