from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.pe import SHIFT
from hwq.quantizers.shift_uniform_log2 import ShiftUniformLog2

EVERY_FRACTION = np.arange(1 << 16)
QUANTIZERS = [
    ShiftUniformLog2(bits, j, offset)
    for bits, j, offset in [
        (2, 3, 0),
        (2, 15, 12),
        (3, 7, 0),
        (3, 9, 2),
        (3, 5, 1),
        (4, 10, 0),
        (4, 15, 0),
        (6, 12, 3),
        (8, 1, 0),
        (8, 15, 14),
    ]
]
every_quantizer = pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)


@st.composite
def quantizers(draw: st.DrawFn) -> ShiftUniformLog2:
    """Return any quantizer that exists."""
    bits, j = draw(st.integers(2, 8)), draw(st.integers(1, 15))
    least = max(j - (1 << bits) + 1, 0)
    return ShiftUniformLog2(bits, j, draw(st.integers(least, j - 1)))


@every_quantizer
@pytest.mark.parametrize("frac", [8, 15, 16, 20, 30])
def test_codes_are_the_integer_units_on_every_16_bit_input(
    quantizer: ShiftUniformLog2, frac: int
) -> None:
    codes, _ = quantizer.encoder(frac).compute(EVERY_FRACTION)
    x = torch.from_numpy(EVERY_FRACTION) * 2.0**-frac
    assert_array_equal(quantizer.encode(x).numpy(), codes)


@every_quantizer
def test_codes_are_nearest_in_the_log_domain(quantizer: ShiftUniformLog2) -> None:
    x = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) ** 4
    fraction = np.minimum(np.floor(x.double().numpy() * 2**16 + 0.5), 65535) / 2**16
    level = np.round(-np.log2(fraction + 2.0**-quantizer.eta_exponent)) - quantizer.offset
    assert_array_equal(quantizer.encode(x).numpy(), np.maximum(level, 0))


@every_quantizer
def test_every_code_stands_for_its_power_less_eta(quantizer: ShiftUniformLog2) -> None:
    eta = Fraction(1, 1 << quantizer.eta_exponent)
    form = quantizer.mac_form()
    for code, value in enumerate(form.value_table().tolist()):
        power = max(Fraction(1, 1 << (code + quantizer.offset)), eta)
        number = Fraction(float(form.lsb)) * (value - form.offset)
        assert number == power - eta
        assert number == Fraction(float(quantizer.decode(torch.tensor([code]))))
    assert (form.pe, form.plane_weights, form.offset) == (SHIFT, (1,), 1)
    assert form.significand.tolist() == [1] * (1 << quantizer.bits)
    assert form.shift.max() == quantizer.eta_exponent - quantizer.offset


@every_quantizer
def test_packing_is_one_to_one(quantizer: ShiftUniformLog2) -> None:
    """The codes that occur are 0..eta_exponent - offset, and all their values differ."""
    codes = torch.unique(quantizer.encode(torch.from_numpy(EVERY_FRACTION) * 2.0**-16))
    largest = quantizer.eta_exponent - quantizer.offset
    assert codes.tolist() == list(range(largest + 1))
    assert codes.numel() <= 1 << quantizer.bits  # the released code has one more: trap T9
    values = quantizer.decode(codes)
    assert torch.unique(values).numel() == codes.numel()
    assert torch.equal(quantizer.encode(values), codes.to(torch.int32))


def test_zero_is_exact_and_so_is_what_rounds_to_it() -> None:
    for quantizer in QUANTIZERS:
        assert quantizer.fake_quantize(torch.tensor([0.0, -0.0, 2.0**-18])).tolist() == [0.0] * 3


def test_levels_at_3_bits() -> None:
    levels = ShiftUniformLog2(3, 7).decode(torch.arange(8)) * 128
    assert levels.tolist() == [127, 63, 31, 15, 7, 3, 1, 0]
    levels = ShiftUniformLog2(3, 7, 3).decode(torch.arange(8)) * 128
    assert levels.tolist() == [15, 7, 3, 1, 0, 0, 0, 0]  # codes 5 to 7 are never made


@settings(max_examples=100, deadline=None)
@given(quantizer=quantizers(), data=st.data())
def test_a_shift_and_one_column_sum_make_the_product(
    quantizer: ShiftUniformLog2, data: st.DataObject
) -> None:
    m, k, n = (data.draw(st.integers(1, 5)) for _ in range(3))
    chance = st.one_of(st.floats(0, 1, width=32), st.floats(0, 2.0**-8, width=32))
    x = torch.tensor(data.draw(st.lists(chance, min_size=m * k, max_size=m * k))).reshape(m, k)
    v = np.array(data.draw(st.lists(st.integers(-128, 127), min_size=k * n, max_size=k * n)))
    v = v.reshape(k, n)
    codes = quantizer.encode(x).numpy()
    shift = quantizer.eta_exponent - quantizer.offset - codes
    assert shift.min() >= 0
    acc = (v[None] << shift[:, :, None]).sum(1) - v.sum(0)
    assert_array_equal(quantizer.mac_form().accumulate(codes, v), acc)
    exact = quantizer.fake_quantize(x).double().numpy() @ v  # sums of 33 bits: exact in float64
    assert_array_equal(acc * 2.0**-quantizer.eta_exponent, exact)


@settings(max_examples=50, deadline=None)
@given(quantizer=quantizers(), x=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=40))
def test_it_is_monotone_and_repeats_itself(quantizer: ShiftUniformLog2, x: list[float]) -> None:
    value = quantizer.fake_quantize(torch.tensor(sorted(x)))
    assert torch.all(value.diff() >= 0)
    assert torch.equal(quantizer.fake_quantize(value), value)
    assert 0 <= float(value.min()) <= float(value.max()) < 1


def test_gradient_is_one_for_probabilities() -> None:
    x = torch.tensor([-0.1, 1e-6, 0.3, 0.999, 1.1], requires_grad=True)
    ShiftUniformLog2(3, 9, 2).fake_quantize(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("bits", range(2, 9))
def test_candidates_are_quantizers_with_all_the_levels_they_can_have(bits: int) -> None:
    pairs = ShiftUniformLog2.candidates(bits)
    assert [j for j, _ in pairs] == list(range(1, 16))
    for j, offset in pairs:
        quantizer = ShiftUniformLog2(bits, j, offset)
        produced = torch.unique(quantizer.encode(torch.linspace(0, 1, 1 << 16)))
        assert produced.numel() == min(j + 1, 1 << bits)
        if offset:
            with pytest.raises(SpecError, match="offset must be in"):
                ShiftUniformLog2(bits, j, offset - 1)


@pytest.mark.parametrize(
    ("bits", "eta_exponent", "offset"),
    [(1, 1, 0), (9, 9, 0), (4, 0, 0), (4, 16, 1), (3, 8, 0), (3, 8, 8), (4, 9, -1)],
)
def test_rejects_what_the_unit_rejects(bits: int, eta_exponent: int, offset: int) -> None:
    with pytest.raises(SpecError, match=r"(bits|eta_exponent|offset) must be in"):
        ShiftUniformLog2(bits, eta_exponent, offset)
