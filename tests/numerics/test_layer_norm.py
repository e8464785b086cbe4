import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.layer_norm import LayerNorm, LayerNormSpec

WIDE = FixedPoint(32, 20, True)
EPS, FRAC = 1e-6, 8


def make(dim, out=WIDE, seed=0, in_frac=FRAC, centered=True):
    rng = np.random.default_rng(seed)
    gamma, beta = rng.normal(1, 0.5, dim), rng.normal(0, 1, dim)
    return LayerNormSpec.from_float(gamma, beta, EPS, in_frac, out, centered), gamma, beta


def tokens(dim, std, count=16, mean=100):
    x = np.random.default_rng(dim).normal(mean, std, (count, dim))
    return np.clip(np.rint(x), -32768, 32767).astype(np.int16)


def normalised_float(x, centered=True):
    wide = x / 2.0**FRAC
    if centered:
        wide = wide - wide.mean(-1, keepdims=True)
    return wide / np.sqrt(np.square(wide).mean(-1, keepdims=True) + EPS)


def corner_tokens(dim):
    alternating = np.where(np.arange(dim) % 2, 32767, -32768)
    spike = np.full(dim, -32768)
    spike[0] = 32767
    rows = [np.zeros(dim), np.full(dim, 32767), np.full(dim, -32768), alternating, spike]
    return np.array([*rows, np.arange(dim) % 2, spike == 32767], np.int16)


def assert_kernel_equals_reference(layer_norm, x):
    y, saturated = layer_norm.compute(x)
    expected, expected_saturated = layer_norm.reference(x)
    assert y.dtype == expected.dtype == np.int32
    assert_array_equal(y, expected)
    assert saturated == expected_saturated


CENTERED = pytest.mark.parametrize("centered", [True, False], ids=["layer norm", "RMS norm"])


@CENTERED
@pytest.mark.parametrize("std", [0.4, 30, 300, 3000, 20000])
@pytest.mark.parametrize("dim", [1, 2, 192, 197, 4096, 8192])
def test_kernel_equals_reference_on_random_tokens(dim, std, centered):
    layer_norm = make(dim, centered=centered)[0]
    assert_kernel_equals_reference(layer_norm, tokens(dim, std, count=4))


@CENTERED
@pytest.mark.parametrize("out", [FixedPoint(8, 4), FixedPoint(31, 12, False), WIDE], ids=str)
@pytest.mark.parametrize("dim", [1, 2, 3, 768, 4096, 8192])
def test_kernel_equals_reference_on_corners(dim, out, centered):
    assert_kernel_equals_reference(make(dim, out, centered=centered)[0], corner_tokens(dim))


@pytest.mark.parametrize("epsilon", [1, 2, 3, (1 << 60) - 1])
def test_kernel_equals_reference_at_the_ends_of_epsilon(epsilon):
    spec = LayerNormSpec(64, epsilon, 15, FixedPoint(32, 31))
    layer_norm = LayerNorm(spec, np.full(64, 32767, np.int32), np.zeros(64, np.int64))
    assert_kernel_equals_reference(layer_norm, corner_tokens(64))


@pytest.mark.parametrize("gamma_shift", [0, 15, 31])
def test_kernel_equals_reference_at_every_last_shift(gamma_shift):
    for frac in (gamma_shift - 15, gamma_shift, gamma_shift + 16):
        spec = LayerNormSpec(64, 1 << 20, gamma_shift, FixedPoint(32, frac))
        top = np.full(64, (1 << 60) - 1)
        for beta in (top, -top, top >> 30):
            layer_norm = LayerNorm(spec, np.full(64, -32767, np.int32), beta)
            assert_kernel_equals_reference(layer_norm, corner_tokens(64))


@CENTERED
@pytest.mark.parametrize("std", [3, 30, 300, 3000, 20000])
@pytest.mark.parametrize("dim", [192, 384, 768])
def test_error_against_float64(dim, std, centered):
    layer_norm, gamma, beta = make(dim, centered=centered)
    x = tokens(dim, std, count=64)
    y, saturated = layer_norm.compute(x)
    norm = normalised_float(x, centered)
    error = np.abs(WIDE.to_float(y) - (norm * gamma + beta))
    assert saturated == 0
    assert (error <= 2.0**-13 * np.abs(gamma).max() * np.maximum(np.abs(norm), 1)).all()


def test_normalisation_alone_has_a_relative_error_below_2_to_the_minus_13():
    ones = LayerNormSpec.from_float(np.ones(384), np.zeros(384), EPS, FRAC, WIDE)
    x = tokens(384, 300, count=64)
    norm = normalised_float(x)
    error = np.abs(WIDE.to_float(ones.compute(x)[0]) / norm - 1)
    assert error[np.abs(norm) >= 0.25].max() <= 2.0**-13


def test_mean_does_not_matter():
    layer_norm = make(192)[0]
    x = tokens(192, 300, mean=0)
    assert_array_equal(layer_norm.compute(x)[0], layer_norm.compute(x + np.int16(20000))[0])


def test_the_mean_matters_where_it_is_not_subtracted():
    layer_norm = make(192, centered=False)[0]
    x = tokens(192, 300, mean=0)
    assert (layer_norm.compute(x)[0] != layer_norm.compute(x + np.int16(20000))[0]).mean() > 0.9


def test_a_gamma_of_zeros_gives_beta_in_every_format():
    """A norm that was just made to do nothing; its output may have few fraction bits."""
    for frac in (-10, 0, 13, 30):
        out = FixedPoint(32, frac)
        layer_norm = LayerNormSpec.from_float(np.zeros(4), np.full(4, 0.75), EPS, FRAC, out)
        y, _ = layer_norm.compute(np.array([[5, 9, -3, 0]], np.int16))
        assert_array_equal(y[0], out.from_float(np.full(4, 0.75)))


def test_constant_tokens_give_beta():
    layer_norm, _, beta = make(192)
    y, _ = layer_norm.compute(np.full((1, 192), -777, np.int16))
    assert_array_equal(y[0], WIDE.from_float(beta))


def test_saturations_are_counted():
    layer_norm = make(192, FixedPoint(8, 6))[0]
    x = tokens(192, 300)
    y, saturated = layer_norm.compute(x)
    wide, _ = make(192, FixedPoint(32, 6))[0].compute(x)
    assert_array_equal(y, np.clip(wide, -128, 127))
    assert saturated == (y != wide).sum() > 0


def test_gamma_uses_its_16_bits():
    layer_norm = LayerNormSpec.from_float(np.array([0.7, -0.1]), np.zeros(2), EPS, FRAC, WIDE)
    assert layer_norm.spec.gamma_shift == 15
    assert_array_equal(layer_norm.gamma, [22938, -3277])
    zero = LayerNormSpec.from_float(np.zeros(2), np.array([1.0, 2.0]), EPS, FRAC, WIDE)
    assert_array_equal(zero.compute(np.array([5, 9], np.int16))[0], [1 << 20, 2 << 20])


def test_epsilon_is_never_zero():
    assert LayerNormSpec.from_float(np.ones(2), np.zeros(2), 0.0, 0, WIDE).spec.epsilon == 1


def test_keeps_leading_axes():
    layer_norm = make(8)[0]
    x = tokens(8, 300, count=6)
    y = layer_norm.compute(x.reshape(2, 3, 8))[0]
    assert_array_equal(y.reshape(6, 8), layer_norm.compute(x)[0])
    assert layer_norm.compute(x[:0])[0].shape == (0, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": 0}, "dim must be in 1..8192, not 0"),
        ({"dim": 8193}, "dim must be in 1..8192, not 8193"),
        ({"epsilon": 0}, f"epsilon must be in 1..{(1 << 60) - 1}, not 0"),
        ({"gamma_shift": 32}, "gamma_shift must be in 0..31, not 32"),
        ({"out": FixedPoint(33, 8)}, "out.bits must be at most 32, not 33"),
        ({"out": FixedPoint(32, 8, False)}, "out.bits must be at most 31, not 32"),
        ({"out": FixedPoint(16, 28)}, "out.frac must be in -4..27, not 28"),
        ({"out": FixedPoint(16, -5)}, "out.frac must be in -4..27, not -5"),
    ],
)
def test_rejects_bad_fields(fields, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        LayerNormSpec(**{"dim": 8, "epsilon": 1, "gamma_shift": 11, "out": WIDE, **fields})


def test_rejects_bad_parameters():
    spec = make(2)[0].spec
    gamma, beta = np.ones(2, np.int32), np.zeros(2, np.int64)
    with pytest.raises(SpecError, match=r"^gamma must have shape \(2,\), not \(3,\)$"):
        LayerNorm(spec, np.ones(3, np.int32), beta)
    with pytest.raises(SpecError, match=r"^gamma must be in -32767..32767, not 1..32768$"):
        LayerNorm(spec, np.array([1, 32768], np.int32), beta)
    with pytest.raises(SpecError, match=r"^beta must be in -\d+..\d+, not 0..1152921504606846976$"):
        LayerNorm(spec, gamma, np.array([0, 1 << 60]))
    with pytest.raises(SpecError, match=r"^gamma must be below 32767, not 32767.0$"):
        LayerNormSpec.from_float(np.full(2, 32767.0), np.zeros(2), EPS, FRAC, WIDE)
    with pytest.raises(SpecError, match=r"^beta must be below 1073741824.0, not 10000000000.0$"):
        LayerNormSpec.from_float(np.ones(2), np.full(2, 1e10), EPS, FRAC, WIDE)


@pytest.mark.parametrize("evaluate", [LayerNorm.compute, LayerNorm.reference])
def test_rejects_bad_inputs(evaluate):
    layer_norm = make(2)[0]
    with pytest.raises(SpecError, match=r"^x must be int16, not int64$"):
        evaluate(layer_norm, np.zeros((3, 2), np.int64))
    with pytest.raises(SpecError, match=r"^x must have 2 columns, not 3$"):
        evaluate(layer_norm, np.zeros((2, 3), np.int16))
