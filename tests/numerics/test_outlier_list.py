"""Lists of outliers: what they hold, and in which order."""

import numpy as np
import pytest

from hwq.errors import SpecError
from hwq.numerics.outlier_join import OutlierJoinSpec
from hwq.numerics.outlier_list import ENTRY, outlier_list_reference
from hwq.numerics.units import UNITS


def sparse(rows: int, channels: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << 15), 1 << 15, (rows, channels)).astype(np.int16)
    return np.where(rng.random(values.shape) < 0.2, values, 0).astype(np.int16)


def test_a_list_has_outliers_by_token_and_channel_and_then_zeros() -> None:
    side = np.array([[0, 7, 0, -3], [0, 0, 0, 0], [5, 0, 0, 0]], np.int16)
    assert outlier_list_reference(side, 5).tolist() == [
        [7, 0, 1],
        [-3, 0, 3],
        [5, 2, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_a_list_stands_for_all_side_values() -> None:
    side = sparse(9, 13)
    again = np.zeros_like(side)
    for value, token, channel in outlier_list_reference(side, 40):
        again[token, channel] += value
    np.testing.assert_array_equal(again, side)


def test_entries_times_rows_of_the_weight_are_what_the_join_adds() -> None:
    side, rng = sparse(5, 8, seed=1), np.random.default_rng(2)
    weight = rng.integers(-128, 128, (6, 8)).astype(np.int8)
    spec = OutlierJoinSpec(np.ones(1, np.int64), np.zeros(6, np.int64))
    sums = np.zeros((5, 6), np.int64)
    for value, token, channel in outlier_list_reference(side, 20):
        sums[token] += value * weight[:, channel].astype(np.int64)
    np.testing.assert_array_equal(sums, spec.compute(np.zeros((5, 6), np.int32), side, weight))


def test_more_outliers_than_room_are_an_error() -> None:
    with pytest.raises(SpecError, match="the list must hold 3 outliers, not 2"):
        outlier_list_reference(np.array([[1, 2, 3]]), 2)


def test_an_entry_is_four_elements() -> None:
    assert sum(part.bits for part in ENTRY) == 4 * 16
    assert UNITS["outlier_list"].timing().interval_cycles == 1
