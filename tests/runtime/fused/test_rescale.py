import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.epilogue import Epilogue, Factor
from hwq.runtime.fused.rescale import (
    Rescale,
    of_head,
    rescale_rows,
    rescale_tokens,
    rescale_wide,
)

COLUMNS = 150  # more than one group, and a rest
RANGES = [(-32768, 32767), (0, 255), (-8, 7), (3, 4)]


def make_epilogue(rng, limits, guard, columns=COLUMNS, **changes):
    """Multipliers from 2**15 to 2**-45, some of them 0, and addends that matter beside them."""
    fields = {
        "bias": rng.integers(-1 << 44, 1 << 44, columns) >> rng.integers(0, 44, columns),
        "correction": rng.integers(-1 << 40, 1 << 40, columns),
        "mult": rng.integers(1 << 15, 1 << 16, columns) * rng.integers(0, 8, columns).clip(0, 1),
        "shift": rng.integers(1, 63, columns),
        "zero_point": rng.integers(-9, 200, columns),
    }
    arrays = {name: np.asarray(value, np.int64) for name, value in (fields | changes).items()}
    return Epilogue(**arrays, lo=limits[0], hi=limits[1], guard=guard)


def accumulators(rng, rows, columns):
    """Of all sizes, and the ends of 32 bits."""
    acc = rng.integers(-1 << 31, 1 << 31, (rows, columns)) >> rng.integers(0, 31, (rows, columns))
    acc[0], acc[1], acc[2] = -1 << 31, (1 << 31) - 1, 0
    return acc.astype(np.int32)


@pytest.mark.parametrize("guard", [0, 12])
@pytest.mark.parametrize("limits", RANGES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_rows_equal_the_reference(seed, limits, guard):
    rng = np.random.default_rng(seed)
    epilogue = make_epilogue(rng, limits, guard)
    acc = accumulators(rng, 20, COLUMNS)
    codes, saturated = epilogue.reference(acc)
    out = np.empty(acc.shape, np.int16)
    assert rescale_rows(acc, of_head(Rescale(epilogue).rules(), 0), COLUMNS, out) == saturated
    assert_array_equal(out, codes)
    assert saturated > 0


@pytest.mark.parametrize("guard", [0, 12])
@pytest.mark.parametrize("limits", RANGES, ids=str)
def test_the_last_accumulator_that_fits_and_the_first_that_does_not(limits, guard):
    """Around both ends of the span that is held, at scales above and below 1."""
    rng = np.random.default_rng(0)
    epilogue = make_epilogue(rng, limits, guard, shift=rng.integers(10, 40, COLUMNS))
    rule = of_head(Rescale(epilogue).rules(), 0)
    ends = rule[0][:2].astype(np.int64)
    near = (ends[:, np.newaxis] + np.arange(-3, 4)[:, np.newaxis]).reshape(-1, COLUMNS)
    acc = near.clip(-(1 << 31), (1 << 31) - 1).astype(np.int32)
    codes, saturated = epilogue.reference(acc)
    out = np.empty(acc.shape, np.int16)
    assert rescale_rows(acc, rule, COLUMNS, out) == saturated
    assert_array_equal(out, codes)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32])
def test_one_rule_for_all_columns(dtype):
    rng = np.random.default_rng(0)
    one = {"bias": 5, "correction": -70, "mult": 40000, "shift": 25, "zero_point": 100}
    epilogue = make_epilogue(rng, (0, 255), 0, **one)
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, (7, 33), dtype, endpoint=True)
    codes, saturated = epilogue.reference(values.astype(np.int32))
    rule = of_head(Rescale(epilogue).rules(), 0)
    assert rule[0].shape == (4, 1)
    out = np.full((7, 40), 7, np.uint8)
    assert rescale_rows(values, rule, 33, out) == saturated
    assert_array_equal(out[:, :33], codes)
    assert (out[:, 33:] == 7).all()


def test_rules_of_several_heads():
    rng = np.random.default_rng(0)
    mult = rng.integers(1 << 15, 1 << 16, (3, 1, 1))
    epilogue = make_epilogue(rng, (-128, 127), 12, mult=mult, shift=rng.integers(20, 40, (3, 1, 1)))
    acc = accumulators(rng, 30, COLUMNS).reshape(3, 10, COLUMNS)
    codes, saturated = epilogue.reference(acc)
    out, counted = np.empty(acc.shape, np.int16), 0
    for head in range(3):
        rule = of_head(Rescale(epilogue).rules(), head)
        counted += rescale_rows(acc[head], rule, COLUMNS, out[head])
    assert_array_equal(out, codes)
    assert counted == saturated


def test_scales_of_the_image():
    """Both kinds of factor, whose mantissas have 16 bits."""
    rng = np.random.default_rng(0)
    scales = np.array([[40000, -14, 53687, -17], [65535, -16, 32769, -15]], np.int64)
    for factor in (Factor(0, "scale"), Factor(1, "reciprocal")):
        epilogue = make_epilogue(rng, (-128, 127), 12, shift=rng.integers(20, 40, COLUMNS))
        epilogue = Epilogue(
            *(getattr(epilogue, name) for name in ("bias", "correction", "mult", "shift")),
            epilogue.zero_point,
            -128,
            127,
            factor,
            12,
        )
        acc = accumulators(rng, 10, COLUMNS)
        codes, saturated = epilogue.reference(acc, scales)
        out = np.empty(acc.shape, np.int16)
        rule = of_head(Rescale(epilogue).rules(scales), 0)
        assert rescale_rows(acc, rule, COLUMNS, out) == saturated
        assert_array_equal(out, codes)


def test_wide_sums_and_factors_of_tokens():
    rng = np.random.default_rng(0)
    epilogue = make_epilogue(rng, (-32768, 32767), 0, shift=rng.integers(20, 63, COLUMNS))
    rule = of_head(Rescale(epilogue, COLUMNS).rules(), 0)
    acc = accumulators(rng, 20, COLUMNS)
    factors = rng.integers(1, 1 << 12, 7)
    wide = acc.astype(np.int64) * factors[(np.arange(20) + 3) % 7][:, np.newaxis]
    codes, saturated = epilogue.reference(wide)
    out = np.empty(acc.shape, np.int16)
    assert rescale_wide(wide, rule, out) == saturated
    assert_array_equal(out, codes)
    out[:] = 0
    assert rescale_tokens(acc, factors, 3, rule, out) == saturated
    assert_array_equal(out, codes)
