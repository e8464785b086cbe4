from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.outlier_join import OutlierJoinSpec
from hwq.numerics.pe import MULTIPLY
from hwq.quantizers.per_patch_outlier import PerPatchOutlier
from hwq.quantizers.uniform import Uniform

INFINITE = torch.tensor(torch.inf)


def quantizer(
    unit: float = 2.0**-14,
    row_mult: tuple[int, ...] = (1024, 4095, 1, 2047),
    zero_point: int = 7,
    threshold: float = 1.25,
    bits: int = 4,
) -> PerPatchOutlier:
    return PerPatchOutlier(
        torch.tensor(unit),
        torch.tensor(row_mult, dtype=torch.int32)[:, None],
        torch.tensor(zero_point, dtype=torch.int32),
        torch.tensor(threshold),
        bits,
    )


EXAMPLES = {
    "w4": quantizer(),
    "w8": quantizer(2.0**-15, zero_point=131, bits=8),
    "w3": quantizer(2.0**-12, zero_point=0, threshold=0.0, bits=3),
    "no outliers": quantizer(2.0**-12, zero_point=15, threshold=torch.inf),
    "any unit": quantizer(0.000123, row_mult=(4095, 3001, 1777, 1024), bits=6),
}
every_example = pytest.mark.parametrize("q", EXAMPLES.values(), ids=EXAMPLES)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tokens_after_layer_norm(images: int = 8, tokens: int = 17, channels: int = 64) -> torch.Tensor:
    """Return [B, T, C]: tokens of different deviation, some channels much larger."""
    spread = torch.linspace(0.5, 1.5, tokens)[:, None]
    x = normal(images, tokens, channels) * spread
    x[..., ::16] *= 5
    return x


@every_example
def test_fake_quantize_is_the_dense_part_plus_the_outliers(q: PerPatchOutlier) -> None:
    x = torch.cat([normal(5, 4, 300), torch.full((5, 4, 1), -1e9), torch.full((5, 4, 1), 1e9)], 2)
    dense, side = q.decode(q.encode(x)), q.outliers(x)
    assert dense.shape == side.shape == x.shape
    assert q.encode(x).dtype == side.dtype == torch.int32
    assert torch.equal(q.fake_quantize(x), dense + q.scale * side)
    assert torch.equal(torch.vmap(q.fake_quantize)(x), dense + q.scale * side)
    outlier = x.abs() > q.threshold
    assert not side[~outlier].any()
    assert not dense[outlier].any()
    assert (q.encode(x)[outlier] == q.zero_point).all()


@every_example
def test_codes_fit_in_bits_and_side_values_in_16(q: PerPatchOutlier) -> None:
    wide = torch.cat([torch.linspace(-9, 9, 4001), torch.tensor([-1e30, 1e30, -torch.inf])])
    x = wide.expand(4, -1)
    codes, side = q.encode(x), q.outliers(x)
    assert set(codes.flatten().tolist()) <= set(range(1 << q.bits))
    assert -(1 << 15) <= int(side.min()) <= int(side.max()) < 1 << 15
    if torch.isinf(q.threshold):
        assert not side.any()
    else:
        assert int(side.min()) == -(1 << 15)


@every_example
def test_decode_is_the_mac_form_of_every_code_and_token(q: PerPatchOutlier) -> None:
    codes = torch.arange(1 << q.bits).expand(4, -1)
    form = q.mac_form()
    exact = form.lsb * (form.value_table()[codes.numpy()] - form.offset)
    assert (form.pe, form.bits, form.offset) == (MULTIPLY, q.bits, int(q.zero_point))
    assert np.shape(form.lsb) == (4, 1)
    assert_array_equal(form.lsb, q.scale.double().numpy())
    assert_array_equal(q.decode(codes).numpy(), exact.astype(np.float32))


@every_example
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_codes_and_outliers_make_the_product_of_the_fake_quantized_values(
    q: PerPatchOutlier, data: st.DataObject
) -> None:
    channels, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    number = st.floats(-5, 5, width=32) | st.sampled_from([0.0, 1.25, -1.25, 40000.0])
    values = data.draw(st.lists(number, min_size=4 * channels, max_size=4 * channels))
    weights = st.lists(
        st.integers(-128, 127), min_size=columns * channels, max_size=columns * channels
    )
    weight = np.array(data.draw(weights), np.int8).reshape(columns, channels)
    # float64 holds a scale times a side value; float32 rounds beyond 24 bits
    x, q = torch.tensor(values).double().reshape(4, channels), replace(q, unit=q.unit.double())
    form = q.mac_form()
    # `accumulate` subtracts the offset, which is the join's correction in hardware
    codes = q.encode(x).numpy()
    correction = -form.offset * weight.astype(np.int64).sum(1)
    acc = (codes.astype(np.int64) @ weight.T.astype(np.int64)).astype(np.int32)
    assert_array_equal(form.accumulate(codes, weight.T), acc + correction)
    row_mult = q.row_mult.numpy().ravel().astype(np.int64)
    join = OutlierJoinSpec(row_mult, correction)
    joined = join.compute(acc, q.outliers(x).numpy().astype(np.int16), weight)
    exact = q.fake_quantize(x).numpy() @ weight.T.astype(np.float64)
    if np.frexp(float(q.unit))[0] == 0.5:  # a power of two: no sum is rounded
        assert_array_equal(joined * float(q.unit), exact)
    else:
        np.testing.assert_allclose(joined * float(q.unit), exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize("frac", [8, 12, 15])
def test_the_integer_encoder_makes_the_same_codes_and_outliers(frac: int) -> None:
    q = quantizer(2.0**-17, row_mult=(1024, 2048, 512, 4), zero_point=120, threshold=0.77, bits=8)
    x = np.arange(-(1 << 15), 1 << 15, dtype=np.int16).reshape(-1, 4, 128)
    values = torch.from_numpy(x.astype(np.float32)) * 2.0**-frac
    unit = q.encoder(frac)
    assert_array_equal(unit.compute(x)[0], q.encode(values).numpy())
    assert_array_equal(unit.outliers(x), q.outliers(values).numpy())
    assert unit.outliers(x).any()


def test_with_any_scale_the_integer_encoder_has_the_same_outliers_and_differs_at_ties() -> None:
    q = quantizer(0.0000371, (4095, 3001, 1777, 1024), zero_point=120, threshold=1.3, bits=8)
    x = np.arange(-(1 << 15), 1 << 15, dtype=np.int16)[None].repeat(4, 0)
    values = torch.from_numpy(x.astype(np.float32)) * 2.0**-13
    unit = q.encoder(13)
    side, expected = unit.outliers(x), q.outliers(values).numpy()
    assert_array_equal(side != 0, np.abs(values.numpy()) > np.float32(1.3))
    for found, exact in ((side, expected), (unit.compute(x)[0], q.encode(values).numpy())):
        differs = found != exact
        assert np.abs(found - exact.astype(np.int64)).max() <= 1
        assert np.count_nonzero(differs) <= 0.001 * x.size


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.05])
def test_from_values_takes_out_the_fraction_and_fits_the_rest(bits: int, fraction: float) -> None:
    x = tokens_after_layer_norm()
    q = PerPatchOutlier.from_values(x, bits, fraction)
    outlier = x.abs() > q.threshold
    assert float(outlier.double().mean()) == pytest.approx(fraction, abs=2 / x.numel())
    assert q.outlier_fraction == float(outlier.double().mean())
    assert q.row_mult.shape == (17, 1)
    assert q.row_mult.dtype == torch.int32
    assert 1 <= int(q.row_mult.min()) and int(q.row_mult.max()) == 4095
    assert 0 <= int(q.zero_point) < 1 << bits
    assert float(q.scale[-1]) > float(q.scale[0])  # as the deviations
    # one scale for all tokens, with the same outliers taken out, is no better
    inliers = torch.where(outlier, 0.0, x)
    flat = inliers.flatten().sort().values
    errors = []
    for part in (1.0, 0.9999, 0.999, 0.99):
        last = int(part * (len(flat) - 1))
        one = Uniform.from_range(flat[len(flat) - 1 - last], flat[last], bits)
        errors.append(float((one.fake_quantize(inliers) - inliers).square().sum()))
    mine = float((q.fake_quantize(x) - x)[~outlier].square().sum())
    assert mine < min(errors)
    assert float((q.fake_quantize(x) - x)[outlier].abs().max()) <= float(q.scale.max()) * 0.501


def test_the_zero_point_lies_where_zero_lies_in_the_ranges() -> None:
    q = PerPatchOutlier.from_values(normal(4, 5, 500).abs(), 4, 0.01)
    assert int(q.zero_point) == 0
    q = PerPatchOutlier.from_values(-normal(4, 5, 500).abs(), 4, 0.01)
    assert int(q.zero_point) == 15
    q = PerPatchOutlier.from_values(normal(4, 5, 500), 8, 0.01)
    assert abs(int(q.zero_point) - 127) <= 8


def test_no_fraction_means_no_outliers_on_any_image() -> None:
    x = tokens_after_layer_norm()
    q = PerPatchOutlier.from_values(x, 6, 0.0)
    assert not q.outliers(100 * x).any()
    assert not q.encoder(8).outliers(np.full((17, 1), 1 << 15, np.int32)).any()
    assert int(q.encoder(8).compute(np.full((17, 1), 1 << 15, np.int32))[0].min()) == 63


def test_all_may_be_outliers() -> None:
    x = tokens_after_layer_norm()
    q = PerPatchOutlier.from_values(x, 4, 1.0)
    assert int((x.abs() > q.threshold).sum()) == x.numel() - 1
    assert (q.fake_quantize(x) - x).abs().max() <= q.scale.max() * 0.501
    assert q.outliers(x).abs().max() <= (1 << 14) + 4  # and twice as much would fit


@pytest.mark.parametrize("fraction", [0.0, 0.01, 1.0])
def test_a_token_without_a_range_does_no_harm(fraction: float) -> None:
    x = tokens_after_layer_norm()
    x[:, 3] = 0.0
    q = PerPatchOutlier.from_values(x, 4, fraction)
    assert torch.isfinite(q.scale).all() and (q.scale > 0).all()
    assert not q.fake_quantize(x)[:, 3].any()
    still = PerPatchOutlier.from_values(torch.zeros(2, 3, 4), 4, fraction)
    assert not still.fake_quantize(torch.zeros(2, 3, 4)).any()


def test_from_values_takes_windows() -> None:
    x = tokens_after_layer_norm(8, 9, 64)
    q = PerPatchOutlier.from_values(x, 4, 0.01)
    windows = PerPatchOutlier.from_values(x.reshape(2, 4, 9, 64), 4, 0.01)
    assert torch.equal(q.scale, windows.scale)
    assert q.fake_quantize(x.reshape(2, 4, 9, 64)).shape == (2, 4, 9, 64)


def test_gradients_are_one_inside_either_range_and_zero_outside() -> None:
    q = quantizer(2.0**-14, (1024, 2048), threshold=2.0)  # scales 1/16, 1/8; codes to 1/2, 1
    x = torch.tensor([[0.3, 0.6, -0.45, 1.9, 2.1, -3000.0]] * 2).requires_grad_()
    q.fake_quantize(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1, 0, 0, 0, 1, 0], [1, 1, 1, 0, 1, 1]]


def test_the_gradient_to_unit_is_that_of_learned_step_size() -> None:
    unit = torch.tensor(2.0**-14, requires_grad=True)
    base = quantizer(threshold=2.0, row_mult=(1024, 2048))
    q = PerPatchOutlier(unit, base.row_mult, base.zero_point, base.threshold, base.bits)
    x = torch.tensor([[0.31, 0.6, -0.6, 2.3], [0.31, 0.6, -1.9, -2.3]])
    for n, mult in enumerate((1024, 2048)):
        scale = torch.tensor(mult * 2.0**-14, requires_grad=True)
        for c in range(4):
            outlier = abs(float(x[n, c])) > 2
            lsq = Uniform(scale, torch.tensor(0 if outlier else 7), 16 if outlier else 4, outlier)
            (expected,) = torch.autograd.grad(lsq.fake_quantize(x[n, c]), scale)
            (found,) = torch.autograd.grad(q.fake_quantize(x)[n, c], unit)
            assert float(found) == pytest.approx(mult * float(expected), abs=1e-3)
    assert q.encoder(10).mult.size == 2
    assert np.shape(q.mac_form().lsb) == (2, 1)


def test_rescaled_keeps_the_outliers() -> None:
    q, x = quantizer(), normal(2, 4, 50)
    doubled = q.rescaled(torch.tensor(2.0))
    assert torch.equal(doubled.scale, 2 * q.scale)
    assert torch.equal(doubled.outliers(x) != 0, q.outliers(x) != 0)
    assert torch.equal(doubled.encode(x * 2)[x.abs() < 0.6], q.encode(x)[x.abs() < 0.6])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantizer(bits=9), "bits must be in 2..8, not 9"),
        (lambda: quantizer(zero_point=16).mac_form(), "zero_point must be in 0..15, not 16"),
        (lambda: quantizer(zero_point=-1).encoder(8), "zero_point must be in 0..15, not -1"),
        (lambda: quantizer(threshold=-1.0).encoder(8), "threshold must not be negative, not -1.0"),
        (
            lambda: PerPatchOutlier(
                torch.tensor(1.0), torch.tensor([1, 2]), torch.tensor(0), INFINITE, 4
            ),
            r"row_mult must be \[T, 1\], not \[2\]",
        ),
        (
            lambda: PerPatchOutlier(
                torch.tensor(1.0), torch.tensor([[1.5]]), torch.tensor(0), INFINITE, 4
            ),
            "row_mult must hold integers, not torch.float32",
        ),
        (
            lambda: PerPatchOutlier(
                torch.tensor([1.0]), torch.tensor([[1]]), torch.tensor(0), INFINITE, 4
            ),
            r"unit must be one number, not \[1\]",
        ),
        (
            lambda: replace(quantizer(), outlier_fraction=-0.1),
            "outlier_fraction must be in 0..1, not -0.1",
        ),
        (
            lambda: PerPatchOutlier.from_values(torch.zeros(3, 3), 4, 1.5),
            "outlier_fraction must be in 0..1, not 1.5",
        ),
        (
            lambda: PerPatchOutlier.from_values(torch.zeros(3), 4, 0.1),
            r"x must be \[..., T, C\], not \[3\]",
        ),
    ],
)
def test_errors_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()


def own_zero_points(x: torch.Tensor, bits: int) -> Uniform:
    """Return the quantizer of float[T, n] with the best percentile and a zero point per token."""
    best, chosen = torch.full((len(x), 1), torch.inf), Uniform.from_range(x.amin(), x.amax(), bits)
    for part in (1.0, 0.9999, 0.999, 0.99):
        ends = torch.quantile(x, torch.tensor([1 - part, part]), dim=1)[..., None]
        one = Uniform.from_range(*ends, bits)
        error = (one.fake_quantize(x) - x).square().sum(1, keepdim=True)
        better = error < best
        chosen = one.with_parameters(
            torch.where(better, one.scale, chosen.scale),
            torch.where(better, one.zero_point, chosen.zero_point),
        )
        best = torch.minimum(error, best)
    return chosen


@pytest.mark.slow
def test_one_zero_point_for_all_tokens_costs_nothing_on_real_tokens(hwq_data: Path) -> None:
    """Held-out images, six LayerNorms of DeiT-T, 4 bits."""
    from hwq.graph.import_torch import import_torch
    from hwq.methods.calibration import Calibration
    from hwq.methods.reparameterize import foldable_layer_norms
    from hwq.models.catalog import create_network
    from hwq.models.images import open_images
    from hwq.models.weights import load_weights

    network = create_network("deit_t")
    load_weights(network.module, hwq_data / "weights" / "deit_tiny_patch16_224.safetensors")
    graph = import_torch(network.module, (1, *network.preprocessing.input_size), "deit_t")
    folder = open_images(
        hwq_data / "data" / "imagenet_calib500", network.preprocessing, labelled=False
    )
    images = folder.sample(8, seed=0)
    names = [node.name for node in foldable_layer_norms(graph)][::4]
    errors = []
    for x in Calibration.of(images.pixels()).collect(graph, names).values():
        q = PerPatchOutlier.from_values(x[:6], 4, 0.01)
        inliers = torch.where(x.abs() > q.threshold, 0.0, x)
        rows = inliers.movedim(1, 0).flatten(1)
        own = own_zero_points(rows[:, : 6 * x.shape[-1]], 4)
        test = rows[:, 6 * x.shape[-1] :]
        mine = q.fake_quantize(inliers[6:]).movedim(1, 0).flatten(1)
        pair = torch.stack([mine, own.fake_quantize(test)])
        errors.append((pair - test).square().sum((1, 2)) / test.square().sum())
    shared, separate = torch.stack(errors).mean(0).tolist()
    assert len(errors) == 6
    assert shared < 1.02 * separate
    assert 0.005 < separate < 0.02
