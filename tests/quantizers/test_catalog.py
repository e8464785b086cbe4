"""What holds for every quantizer in the catalogue; a new entry needs examples here."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hwq.numerics.array import ArraySpec
from hwq.quantizers.base import Quantizer
from hwq.quantizers.catalog import QUANTIZERS
from hwq.quantizers.dynamic import Dynamic
from hwq.quantizers.log2 import Log2
from hwq.quantizers.log_sqrt2 import LogSqrt2
from hwq.quantizers.per_patch_outlier import PerPatchOutlier
from hwq.quantizers.shift_log2 import ShiftLog2
from hwq.quantizers.shift_uniform_log2 import ShiftUniformLog2
from hwq.quantizers.twin_uniform import TwinUniform
from hwq.quantizers.uniform import Uniform


def uniform(scale: float, zero_point: int, bits: int, signed: bool) -> Uniform:
    return Uniform(torch.tensor(scale), torch.tensor(zero_point), bits, signed)


def one_token(unit: float, zero_point: int, bits: int) -> PerPatchOutlier:
    """Return the dense path alone: its side path has tests of its own."""
    row_mult, point, never = torch.tensor([1024]), torch.tensor(zero_point), torch.tensor(torch.inf)
    return PerPatchOutlier(torch.tensor(unit), row_mult, point, never, bits)


# scales are powers of two, so that floats and integers agree to the last bit
EXAMPLES: dict[str, list[Quantizer]] = {
    "uniform": [
        uniform(2.0**-5, 0, 8, True),
        uniform(2.0**-5, 97, 8, False),
        uniform(2.0**-2, -3, 4, True),
        uniform(2.0**-3, 5, 3, False),
    ],
    "dynamic": [Dynamic(uniform(2.0**-4, 40, 6, False), 2)],
    "log2": [Log2(3), Log2(4), Log2(8), Log2(4, offset=2), Log2(8, 0, 11), Log2(8, 2, 5)],
    "log_sqrt2": [
        *(LogSqrt2(3), LogSqrt2(4), LogSqrt2(8), LogSqrt2(4, offset=3)),
        *(LogSqrt2(8, 0, 12), LogSqrt2(5, 3, 5)),
    ],
    "per_patch_outlier": [one_token(2.0**-15, 97, 8), one_token(2.0**-12, 7, 4)],
    "twin_uniform": [
        TwinUniform.softmax(8, 4),
        TwinUniform.softmax(4, 6),
        TwinUniform(torch.tensor(2.0**-9), 3, 8, "gelu"),
        TwinUniform(torch.tensor(2.0**-5), 5, 4, "gelu"),
    ],
    "shift_log2": [
        ShiftLog2(torch.tensor(8.0), 352, 4),
        ShiftLog2(torch.tensor(4.0), 3 << 14, 8),
        ShiftLog2(torch.tensor(2.0), 1 << 10, 4, steps_per_octave=1),
        ShiftLog2(torch.tensor(4.0), 3 << 11, 8, max_exponent=12),
    ],
    "shift_uniform_log2": [
        ShiftUniformLog2(3, 7),
        ShiftUniformLog2(3, 9, 2),
        ShiftUniformLog2(4, 9),
        ShiftUniformLog2(8, 15, 1),
    ],
}
CASES = [pytest.param(q, id=f"{n}-{i}") for n, qs in EXAMPLES.items() for i, q in enumerate(qs)]
ROUNDED = [
    uniform(0.0371, 77, 8, False),
    one_token(3.71e-5, 77, 8),
    TwinUniform.gelu(5.3, 8, 5),
    ShiftLog2.from_range(-0.17, 6.1, 4),
    ShiftLog2.from_range(-0.17, 6.1, 8),
]
FRAC = 13
every_quantizer = pytest.mark.parametrize("quantizer", CASES)


def fixed_point_inputs() -> torch.Tensor:
    """Return all 16-bit integers with FRAC fraction bits, -4..4."""
    return torch.arange(-(1 << 15), 1 << 15) * 2.0**-FRAC


def all_codes(quantizer: Quantizer) -> torch.Tensor:
    signed = bool(getattr(quantizer, "signed", False))
    codes = torch.arange(1 << quantizer.bits)
    return codes - (1 << quantizer.bits) // 2 if signed else codes


def mac_values(quantizer: Quantizer, codes: torch.Tensor) -> list[Fraction]:
    """Return lsb * (V - offset) of every code, exactly."""
    form = quantizer.mac_form()
    table = (form.value_table() - form.offset).tolist()
    mask = (1 << quantizer.bits) - 1
    return [Fraction(float(form.lsb)) * table[c & mask] for c in codes.ravel().tolist()]


def test_every_entry_has_examples_of_its_class() -> None:
    assert set(EXAMPLES) == set(QUANTIZERS)
    for name, quantizers in EXAMPLES.items():
        assert QUANTIZERS[name].name == name
        assert all(type(q) is QUANTIZERS[name] for q in quantizers)


@every_quantizer
def test_codes_fit_in_bits(quantizer: Quantizer) -> None:
    wide = torch.cat([fixed_point_inputs(), torch.tensor([-1e30, 1e30, -torch.inf, torch.inf])])
    codes = quantizer.encode(wide)
    assert codes.dtype == torch.int32
    assert set(codes.tolist()) <= set(all_codes(quantizer).tolist())
    assert quantizer.mac_form().bits == quantizer.bits


@every_quantizer
def test_decode_is_the_mac_form_of_every_code(quantizer: Quantizer) -> None:
    codes = all_codes(quantizer)
    decoded = [Fraction(v) for v in quantizer.decode(codes).tolist()]
    assert decoded == mac_values(quantizer, codes)


@pytest.mark.parametrize("quantizer", ROUNDED)
def test_any_scale_decodes_to_the_mac_form_rounded_to_float32(quantizer: Quantizer) -> None:
    codes = all_codes(quantizer)
    exact = torch.tensor([float(v) for v in mac_values(quantizer, codes)], dtype=torch.float64)
    assert torch.equal(quantizer.decode(codes), exact.float())


@every_quantizer
def test_distinct_codes_that_occur_have_distinct_values(quantizer: Quantizer) -> None:
    codes = torch.unique(quantizer.encode(fixed_point_inputs()))
    values = quantizer.decode(codes)
    zeros = int((values == 0).sum())  # the two zeros of a twin code are the one exception
    assert len(set(values.tolist())) == codes.numel() - max(zeros - 1, 0)
    assert zeros <= (2 if quantizer.name == "twin_uniform" else 1)


@every_quantizer
def test_decoded_values_encode_to_themselves(quantizer: Quantizer) -> None:
    values = quantizer.decode(quantizer.encode(fixed_point_inputs()))
    assert torch.equal(quantizer.decode(quantizer.encode(values)), values)


@every_quantizer
def test_the_processing_element_sums_what_the_form_does(quantizer: Quantizer) -> None:
    """The array's planes, weighted and offset as the epilogue does it, are the form's sums."""
    form = quantizer.mac_form()
    rng = np.random.default_rng(0)
    codes = all_codes(quantizer).numpy()
    codes = np.concatenate([rng.choice(codes, codes.size) for _ in range(3)] + [codes])
    codes = codes.reshape(4, -1)
    b = rng.integers(-128, 128, (codes.shape[1], 5))
    planes = ArraySpec(4, 4, pe=form.element(acc_bits=62)).compute(codes, b)
    weights = np.array(form.plane_weights).reshape(-1, 1, 1)
    acc = (weights * planes[: weights.size]).sum(axis=0) - form.offset * b.sum(axis=0)
    assert (acc == form.accumulate(codes, b)).all()


@every_quantizer
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_array_accumulates_what_the_codes_stand_for(
    quantizer: Quantizer, data: st.DataObject
) -> None:
    m, k, n = (data.draw(st.integers(1, 5)) for _ in range(3))
    number = st.floats(-5, 5, width=32)
    x = torch.tensor(data.draw(st.lists(number, min_size=m * k, max_size=m * k)))
    w = data.draw(st.lists(st.integers(-128, 127), min_size=k * n, max_size=k * n))
    codes = quantizer.encode(x)
    values = [Fraction(v) for v in quantizer.decode(codes).tolist()]
    form = quantizer.mac_form()
    acc = form.accumulate(codes.reshape(m, k).numpy(), np.array(w).reshape(k, n))
    for i in range(m):
        for j in range(n):
            exact = sum((values[i * k + t] * w[t * n + j] for t in range(k)), Fraction(0))
            assert Fraction(float(form.lsb)) * int(acc[i, j]) == exact


@every_quantizer
def test_the_integer_encoder_makes_the_same_codes(quantizer: Quantizer) -> None:
    x = np.arange(-(1 << 15), 1 << 15)
    encoder = quantizer.encoder(FRAC)
    codes, saturated = encoder.compute(x)
    assert_array_equal(codes, quantizer.encode(fixed_point_inputs()).numpy())
    sample = x[::37]
    assert_array_equal(encoder.reference(sample)[0], codes[::37])
    assert 0 <= saturated < x.size


@pytest.mark.parametrize("quantizer", ROUNDED)
def test_with_any_scale_the_integer_encoder_differs_by_one_step_at_ties(
    quantizer: Quantizer,
) -> None:
    x = np.arange(-(1 << 15), 1 << 15)
    codes = quantizer.encoder(FRAC).compute(x)[0].astype(np.int64)
    expected = quantizer.encode(fixed_point_inputs()).numpy()
    differs = codes != expected
    assert np.abs(codes - expected).max() <= 1
    assert np.count_nonzero(differs) <= 0.001 * x.size


@every_quantizer
def test_fake_quantize_is_decode_of_encode_also_under_vmap(quantizer: Quantizer) -> None:
    x = torch.cat([fixed_point_inputs()[::16], torch.randn(4096)]).reshape(8, -1)
    expected = quantizer.decode(quantizer.encode(x))
    assert torch.equal(quantizer.fake_quantize(x), expected)
    assert torch.equal(torch.vmap(quantizer.fake_quantize)(x), expected)


@every_quantizer
def test_gradients_are_one_inside_the_range_and_zero_outside(quantizer: Quantizer) -> None:
    values = quantizer.decode(quantizer.encode(fixed_point_inputs()))
    inside = torch.linspace(float(values.min()), float(values.max()), 52)[1:-1]
    x = torch.cat([torch.tensor([-1e6]), inside, torch.tensor([1e6])]).requires_grad_()
    quantizer.fake_quantize(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0] + [1.0] * 50 + [0.0]


def test_a_scale_that_is_being_learned_can_be_lowered() -> None:
    scale = torch.tensor(0.25, requires_grad=True)
    learned = [
        Uniform(scale, torch.tensor(0), 4, signed=True),
        TwinUniform(scale, 2, 4, "gelu"),
        ShiftLog2(scale, 16, 4),
    ]
    for quantizer in learned:
        assert quantizer.encoder(FRAC).compute(np.arange(4))[0].size == 4
        assert float(quantizer.mac_form().lsb) > 0
