import numpy as np
import pytest
import torch

from hwq.methods.predictor import (
    FRAC,
    Predictor,
    fit_predictor,
    interpolate,
    oracle_report,
)

OFFSETS = torch.linspace(-0.75, 0.75, 25)


def random_predictor(width=24, scales=6, features=5, degree=2, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return Predictor(
        centre=8 + draw(width),
        projection=draw(features, width) / width,
        coefficients=draw(scales, features, degree) / 16,
        biases=draw(scales) / 16,
    )


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("frac", [6, 9, 12])
def test_integers_agree_with_floats(degree, frac):
    """Within 0.02 octaves, which is 1.4 % of a scale.

    The 8-bit projection is within 2**-8 of its largest entry, which over 24 ranges of at most 3
    from the centre moves a feature by at most 24 * 3 * 2**-8 * 0.12 < 0.04; the rest is 2**-12.
    """
    predictor = random_predictor(degree=degree)
    spec = predictor.to_spec(frac)
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for _ in range(200):
        wanted_ranges = predictor.centre + 3 * (2 * torch.rand(24, generator=generator) - 1)
        ranges = torch.floor(wanted_ranges * 2**frac + 0.5)
        wanted = predictor(ranges / 2**frac)
        got = spec.correct(spec.project(ranges.numpy().astype(np.int32)))
        worst = max(worst, float((torch.tensor(got / 2.0**FRAC) - wanted).abs().max()))
    assert worst < 0.02


def test_factor_and_reciprocal_stand_for_the_correction():
    spec = random_predictor().to_spec(8)
    prediction = spec.predict(np.array([4000, -100, 0, 9000, -7000], np.int16))
    wanted = np.exp2(prediction.log2_correction / 2.0**FRAC)
    factor = prediction.mantissa * np.exp2(prediction.exponent - 15.0)
    reciprocal = prediction.reciprocal_mantissa * np.exp2(prediction.reciprocal_exponent - 15.0)
    np.testing.assert_allclose(factor, wanted, rtol=2.0**-14)
    np.testing.assert_allclose(reciprocal, 1 / wanted, rtol=2.0**-14)


def test_static_predictor_corrects_nothing():
    static = Predictor.static(24, 6, 8, 1)
    ranges = torch.rand(3, 24) * 100
    assert torch.equal(static(ranges), torch.zeros(3, 6))
    spec = static.to_spec(8)
    assert not spec.correct(spec.project(np.full(24, 12345, np.int32))).any()


def test_polynomial_is_horners_with_the_highest_degree_first():
    predictor = Predictor(
        torch.zeros(1), torch.ones(1, 1), torch.tensor([[[0.5, -0.25, 0.125]]]), torch.tensor([0.1])
    )
    x = 0.8
    wanted = 0.1 + 0.5 * x**3 - 0.25 * x**2 + 0.125 * x
    assert float(predictor(torch.tensor([x]))) == pytest.approx(wanted)


def test_corrections_and_features_are_clamped_as_in_the_unit():
    predictor = random_predictor()
    loud = predictor(predictor.centre + 1e6)
    assert loud.abs().max() <= 0.75
    features = predictor.project(predictor.centre + 1e9 * torch.randn(100, 24))
    assert features.min() == -8.0 and features.max() == 8.0 - 2.0**-FRAC


def test_keep_takes_the_marked_scales():
    predictor = random_predictor()
    kept = predictor.keep([True, False, False, True, False, False])
    ranges = predictor.centre + torch.randn(4, 24)
    assert torch.equal(kept(ranges), predictor(ranges)[:, [0, 3]])


def test_interpolation_hits_the_table_and_is_linear_between():
    table = torch.rand(3, 2, 25, generator=torch.Generator().manual_seed(0))
    for k in (0, 7, 23):
        at = OFFSETS[k].expand(3, 2)
        torch.testing.assert_close(
            interpolate(table, OFFSETS, at), table[..., k], atol=1e-4, rtol=0
        )
    middle = ((OFFSETS[4] + OFFSETS[5]) / 2).expand(3, 2)
    wanted = (table[..., 4] + table[..., 5]) / 2
    torch.testing.assert_close(interpolate(table, OFFSETS, middle), wanted, atol=1e-4, rtol=0)
    assert interpolate(table, OFFSETS, torch.full((3, 2), 9.0)).isfinite().all()


def curves(best, depth=1.0, floor=0.2):
    """Error curves with their minimum at best[B, L]."""
    return floor + depth * (OFFSETS - best[..., None]).square()


def planted(images=120, width=16, scales=4, seed=0):
    """Ranges, and best corrections that follow from them linearly."""
    generator = torch.Generator().manual_seed(seed)
    ranges = 5 + torch.randn(images, width, generator=generator)
    weight = torch.randn(width, scales, generator=generator)
    best = 0.25 * torch.tanh((ranges - 5) @ weight / width**0.5)
    return ranges, best


def fit(ranges, errors, **changes):
    options = {"features": 4, "degree": 1, "min_r2": 0.2, "held_out": 0.3, **changes}
    return fit_predictor(ranges, errors, OFFSETS, **options)


def test_gates_open_on_a_planted_relation():
    ranges, best = planted()
    result = fit(ranges, curves(best))
    assert all(result.keep)
    assert result.images == 36
    assert (result.r2 > 0.6).all()
    assert (result.predicted_gain > 0.5 * result.oracle_gain).all()
    assert (result.predicted_gain <= result.oracle_gain + 1e-3).all()
    assert (result.predicted_gain > result.static_gain).all()


def test_gates_stay_closed_on_noise():
    ranges, _ = planted()
    best = 0.25 * torch.randn((120, 4), generator=torch.Generator().manual_seed(9)).clamp(-2, 2)
    result = fit(ranges, curves(best))
    assert not any(result.keep)
    assert (result.r2 < 0.2).all()


def test_each_gate_is_judged_by_itself():
    ranges, best = planted()
    best[:, 2] = 0.25 * torch.randn(120, generator=torch.Generator().manual_seed(9)).clamp(-2, 2)
    result = fit(ranges, curves(best))
    assert result.keep == [True, True, False, True]
    assert result.predictor.biases.shape == (3,)


def test_a_constant_correction_is_not_worth_a_predictor():
    """Every image wants the same other scale: the static scale should have been that one."""
    ranges, _ = planted()
    noise = 0.01 * torch.randn((120, 4), generator=torch.Generator().manual_seed(9))
    result = fit(ranges, curves(0.2 + noise))
    assert (result.static_gain > 0).all()
    assert not any(result.keep)


def test_a_stricter_gate_closes():
    ranges, best = planted()
    assert not any(fit(ranges, curves(best), min_r2=1.0).keep)


def test_fit_is_deterministic():
    ranges, best = planted()
    one, two = (fit(ranges, curves(best)).predictor for _ in range(2))
    for name in ("centre", "projection", "coefficients", "biases"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name


def test_fewer_ranges_than_features_leave_features_empty():
    ranges, best = planted(width=2)
    result = fit(ranges, curves(best), features=8)
    assert result.predictor.projection.shape == (8, 2)
    assert result.predictor.projection.isfinite().all()


def test_two_images_are_enough_to_run():
    ranges, best = planted(images=2)
    result = fit(ranges, curves(best))
    assert result.images == 1


def test_report_lists_every_scale():
    ranges, best = planted()
    report = oracle_report(fit(ranges, curves(best)), ["a", "b", "c", "d"])
    assert (report["scales"], report["gates_open"], report["held_out_images"]) == (4, 4, 36)
    assert [row["name"] for row in report["per_scale"]] == ["a", "b", "c", "d"]
    assert set(report["per_scale"][0]) == {
        "name",
        "open",
        "held_out_r2",
        "oracle_gain",
        "predicted_gain",
        "static_gain",
    }
