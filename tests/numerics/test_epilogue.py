from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.epilogue import Epilogue, EpilogueSpec, Factor
from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.fixed_point import dyadic_array

NOTHING = np.zeros((), np.int64)


def epilogue(channels=6, seed=0, lo=-8, hi=7, factor=None, **changes):
    rng = np.random.default_rng(seed)
    mult, shift = dyadic_array(rng.uniform(0.5, 2.0, channels) / 2**12)
    plain = Epilogue(
        bias=rng.integers(-(1 << 14), 1 << 14, channels),
        correction=rng.integers(-(1 << 12), 1 << 12, channels),
        mult=mult,
        shift=shift,
        zero_point=np.array(1),
        lo=lo,
        hi=hi,
        factor=factor,
    )
    return replace(plain, **changes)


def accumulators(*shape, seed=1, bits=16, dtype=np.int32):
    return np.random.default_rng(seed).integers(-(1 << bits), 1 << bits, shape).astype(dtype)


def scales(*log2_corrections):
    """int64[L, 4] of log2 corrections in Q4.12, as a scale predictor makes them."""
    correction = np.array(log2_corrections, np.int16)
    exp2 = Exp2Spec(in_bits=16, frac=12)
    parts = (*exp2.compute(correction), *exp2.compute(-correction))
    return np.stack([part.astype(np.int64) for part in parts], axis=1)


def by_hand(unit, acc):
    """The formula of the docstring, element by element in Python integers."""
    fields = (unit.bias, unit.correction, unit.mult, unit.shift, unit.zero_point)
    arrays = [np.broadcast_to(field, acc.shape).ravel().tolist() for field in fields]
    out = []
    for a, bias, correction, mult, shift, zero in zip(acc.ravel().tolist(), *arrays, strict=True):
        total = (a << unit.guard) + bias + correction
        wide = ((total * mult + (1 << shift - 1)) >> shift) + zero
        out.append((min(max(wide, unit.lo), unit.hi), wide))
    held = np.array([h for h, _ in out]).reshape(acc.shape)
    return held, sum(h != w for h, w in out)


def assert_all_equal(unit, acc, table=None):
    got, saturated = unit.compute(acc, table)
    wanted, clamped = unit.reference(acc, table)
    assert_array_equal(got, wanted)
    assert saturated == clamped and got.dtype == wanted.dtype
    return got, saturated


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("shape", [(1, 5, 6), (1, 2, 3, 6), (4, 6)])
def test_equals_the_formula(shape, dtype):
    unit, acc = epilogue(), accumulators(*shape, dtype=dtype)
    got, saturated = assert_all_equal(unit, acc)
    wanted, clamped = by_hand(unit, acc)
    assert_array_equal(got, wanted)
    assert saturated == clamped > 0


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int8])
def test_fixed_point_inputs_narrower_than_accumulators(dtype):
    """`encode` uses the same unit: no bias, one multiplier."""
    mult, shift = dyadic_array(np.array(0.37))
    unit = epilogue(bias=NOTHING, correction=NOTHING, mult=mult, shift=shift, lo=0, hi=255)
    info = np.iinfo(dtype)
    x = np.arange(info.min, info.max + 1).astype(dtype).reshape(-1, 64)
    got, saturated = assert_all_equal(unit, x)
    wanted, clamped = by_hand(unit, x)
    assert_array_equal(got, wanted)
    assert saturated == clamped


def test_multiplier_per_head_and_row():
    mult, shift = dyadic_array(np.array([0.2, 0.01]).reshape(1, 2, 1, 1))
    unit = epilogue(bias=NOTHING, correction=NOTHING, mult=mult, shift=shift, lo=-128, hi=127)
    acc = accumulators(1, 2, 3, 4, bits=10)
    got, _ = assert_all_equal(unit, acc)
    assert_array_equal(got, by_hand(unit, acc)[0])


@pytest.mark.parametrize("bias", [0, 1])
@pytest.mark.parametrize("shift", [1, 12, 13, 30])
def test_guarded_accumulators(shift, bias):
    """Every shift meets the guard's 12 bits, with something to add and without."""
    given = {"bias": NOTHING + bias, "correction": NOTHING, "shift": np.array(shift), "guard": 12}
    unit = epilogue(mult=np.array(3), **given, lo=-(1 << 31), hi=(1 << 31) - 1)
    acc = accumulators(40, 6, dtype=np.int32)
    assert_array_equal(assert_all_equal(unit, acc)[0], by_hand(unit, acc)[0])


def test_ties_go_up_and_zero_point_comes_after_rounding():
    unit = Epilogue(NOTHING, NOTHING, np.array(1 << 15), np.array(16), np.array(3), -100, 100)
    acc = np.array([[1, -1, 3, -3]], np.int32)
    assert_array_equal(assert_all_equal(unit, acc)[0], [[4, 3, 5, 2]])


def test_bias_beyond_32_bits_does_not_wrap():
    unit = epilogue(1, bias=np.array([1 << 40]), lo=-(1 << 31), hi=(1 << 31) - 1)
    acc = np.full((1, 1), 2**31 - 1, np.int32)
    assert_array_equal(assert_all_equal(unit, acc)[0], by_hand(unit, acc)[0])


def test_factor_of_one_changes_nothing():
    acc = accumulators(1, 5, 6)
    plain = epilogue().compute(acc)[0]
    for kind in ("scale", "reciprocal"):
        unit = epilogue(factor=Factor(1, kind))
        got, _ = assert_all_equal(unit, acc, scales(999, 0))
        assert_array_equal(got, plain)


@pytest.mark.parametrize("kind", ["scale", "reciprocal"])
@pytest.mark.parametrize("correction", [-3072, -1, 1, 700, 3072])
def test_equals_the_reference_with_any_factor(kind, correction):
    unit = epilogue(factor=Factor(0, kind), lo=-128, hi=127)
    assert_all_equal(unit, accumulators(1, 5, 6), scales(correction))


@pytest.mark.parametrize("correction", range(-3072, 3073, 256))
def test_scale_multiplies_the_accumulators_but_not_the_bias(correction):
    """Within one unit of round((acc + correction) * mult * factor + bias * mult)."""
    unit = epilogue(factor=Factor(0, "scale"), zero_point=NOTHING, lo=-(1 << 15), hi=1 << 15)
    acc = accumulators(1, 50, 6, bits=20)
    got = unit.compute(acc, scales(correction))[0]
    factor = 2.0 ** (correction / 4096)
    mult = unit.mult * 2.0**-unit.shift
    exact = (acc.astype(float) + unit.correction) * mult * factor + unit.bias * mult
    assert np.abs(got - exact).max() <= 0.5 + np.abs(exact).max() * 2.0**-13 + 2.0**-6


@pytest.mark.parametrize("correction", range(-3072, 3073, 256))
def test_reciprocal_makes_codes_of_the_corrected_scale(correction):
    unit = epilogue(factor=Factor(0, "reciprocal"), zero_point=NOTHING, lo=-(1 << 15), hi=1 << 15)
    acc = accumulators(1, 50, 6, bits=20)
    got = unit.compute(acc, scales(correction))[0]
    mult = unit.mult * 2.0**-unit.shift / 2.0 ** (correction / 4096)
    exact = (acc.astype(float) + unit.bias + unit.correction) * mult
    assert np.abs(got - exact).max() <= 0.5 + np.abs(exact).max() * 2.0**-13


def test_factor_picks_its_row_and_kind():
    table = scales(0, 700, -700)
    factor = Factor(1, "scale")
    assert factor.pick(table) == tuple(table[1, :2])
    assert factor.pick_inverse(table) == tuple(table[1, 2:])
    assert Factor(1, "reciprocal").pick(table) == factor.pick_inverse(table)
    assert factor.pick(table) == Factor(2, "reciprocal").pick(table)


def test_rejects_an_empty_range():
    with pytest.raises(SpecError, match=r"^lo must not exceed hi, not 8\.\.7$"):
        epilogue(lo=8)


@pytest.mark.parametrize("weights", [(1,), (128, 181)])
def test_one_element_with_its_parameters_equals_the_whole_product(weights):
    unit = epilogue(lo=-128, hi=127)
    planes = [accumulators(20, 6, seed=s).astype(np.int64) for s in range(len(weights))]
    acc = sum(plane * weight for plane, weight in zip(planes, weights, strict=True))
    parameters = (unit.bias + unit.correction, unit.mult, unit.shift, unit.zero_point)
    columns = [*planes, *(np.broadcast_to(values, acc.shape) for values in parameters)]
    operands = np.stack([np.asarray(column).ravel() for column in columns], axis=-1)
    spec = EpilogueSpec(-128, 127, plane_weights=weights)
    codes, saturated = spec.compute(operands)
    wanted, clamped = unit.compute(acc)
    assert_array_equal(codes, wanted.ravel())
    assert saturated == clamped
    assert_array_equal(spec.reference(operands)[0], codes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lo": 3, "hi": 2}, r"lo\.\.hi must be two values or more within 32 bits, not 3\.\.2"),
        ({"lo": 0, "hi": 0}, r"lo\.\.hi must be two values or more within 32 bits, not 0\.\.0"),
        ({"hi": 1 << 31}, r"within 32 bits, not -8\.\.2147483648"),
        ({"plane_weights": ()}, r"plane_weights must be positive, not \(\)"),
        ({"acc_bits": 47}, r"acc_bits must be in 2\.\.46, not 47"),
        ({"addend_bits": 1}, r"addend_bits must be in 2\.\.46, not 1"),
        ({"acc_bits": 46}, r"the sum must stay below 2\*\*46, not reach 70368744177664"),
    ],
)
def test_element_spec_says_what_is_wrong(changes, message):
    with pytest.raises(SpecError, match=message):
        EpilogueSpec(**{"lo": -8, "hi": 7} | changes)


def test_element_needs_all_its_operands():
    with pytest.raises(SpecError, match=r"operands must be \[n, 5\], not \[3, 4\]"):
        EpilogueSpec(-8, 7).compute(np.ones((3, 4), np.int64))
