"""Joined sums: in 32 bits where outliers allow it, in 64 elsewhere, equal in both."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.epilogue import Epilogue
from hwq.numerics.outlier_join import OutlierJoinSpec
from hwq.numerics.outlier_split import NEVER, OutlierSplitSpec
from hwq.runtime.fused.outliers import (
    largest_sum,
    rescale_joined,
    spare_magnitude,
    split_rows,
)
from hwq.runtime.fused.rescale import Rescale, of_head

ROWS, DEPTH, COLUMNS, TOKENS = 10, 60, 40, 5


@pytest.mark.parametrize("threshold", [0, 9000, NEVER])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_split_is_that_of_the_unit(threshold, bits):
    rng = np.random.default_rng(bits)
    shift = rng.integers(1, 20, TOKENS)
    unit = OutlierSplitSpec(rng.integers(0, 1 << 16, TOKENS), shift, 3, threshold, bits)
    x = rng.integers(-(1 << 15), 1 << 15, (2, TOKENS, DEPTH)).astype(np.int16)
    x[0, 0], x[0, 1] = -(1 << 15), (1 << 15) - 1
    codes, saturated = unit.reference(x)
    rows = x.reshape(-1, DEPTH)
    out, side = np.empty(rows.shape, np.uint8), np.empty(rows.shape, np.int16)
    split = unit.mult, unit.shift, unit.zero_point, unit.threshold, unit.top
    counted = 0
    for first, last in ((0, 3), (3, 2 * TOKENS)):  # blocks begin anywhere
        part = slice(first, last)
        counted += split_rows(rows[part], split, first, out[part], side[part])
    assert counted == saturated
    assert_array_equal(out, codes.reshape(out.shape))
    assert_array_equal(side, unit.outliers_reference(x).reshape(side.shape))


@pytest.mark.parametrize("spare", [0, 1 << 31])
def test_joined_sums_of_both_widths(spare):
    """With nothing to spare all sums take 64 bits; else outliers of these sizes fit in 32."""
    rng = np.random.default_rng(0)
    acc = rng.integers(-(1 << 24), 1 << 24, (ROWS, COLUMNS + 8)).astype(np.int32)
    side = np.where(rng.random((ROWS, DEPTH)) < 0.1, rng.integers(-3000, 3000, (ROWS, DEPTH)), 0)
    side = side.astype(np.int16)
    weight = rng.integers(-128, 127, (DEPTH, COLUMNS), np.int8, endpoint=True)
    unit = OutlierJoinSpec(rng.integers(1, 4096, TOKENS), rng.integers(-9999, 9999, COLUMNS))
    arrays = (rng.integers(-(1 << 30), 1 << 30, COLUMNS), np.zeros(1, np.int64))
    mult, shift = rng.integers(1 << 15, 1 << 16, COLUMNS), rng.integers(25, 45, COLUMNS)
    epilogue = Epilogue(*arrays, mult, shift, np.zeros(1, np.int64), -(1 << 15), (1 << 15) - 1)
    first = 3
    tokens = np.roll(unit.row_mult, -first)[np.arange(ROWS) % TOKENS]
    joined = acc[:, :COLUMNS].astype(np.int64) + unit.correction
    joined = (joined + side.astype(np.int64) @ weight) * tokens[:, np.newaxis]
    codes, saturated = epilogue.reference(joined)
    assert 0 < saturated < codes.size
    rule = of_head(Rescale(epilogue, COLUMNS).rules(), 0)
    join = weight, unit.correction, unit.row_mult, spare
    out = np.empty((ROWS, COLUMNS), np.int16)
    assert rescale_joined(acc.copy(), side, join, first, rule, out) == saturated
    assert_array_equal(out, codes)


def test_the_largest_outliers_are_seen():
    side = np.zeros((3, DEPTH), np.int16)
    side[0], side[2] = 32767, -32768
    assert largest_sum(side, 3) == DEPTH << 15
    assert largest_sum(side, 2) == DEPTH * 32767


@pytest.mark.parametrize("least", [-128, -127, -8])
def test_what_is_spare_is_all_that_is_spare(least):
    """With the largest codes and as many outliers, sums end at 32 bits; one more might not fit."""
    b, correction, top = np.full((4, 2), least, np.int8), np.array([-5, 7]), 255
    spare = spare_magnitude(b, correction, top)
    largest = 4 * top * -least + 7 + spare * -least
    assert largest < 1 << 31 <= largest - least
    assert spare_magnitude(np.full((60_000, 1), least, np.int8), correction << 40, top) < 0
