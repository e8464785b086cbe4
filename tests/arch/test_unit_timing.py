import pytest

from hwq.arch.kinds import VECTOR_OPS
from hwq.arch.unit_timing import UNIT_TIMING, UnitTiming, ceil_div


def test_every_vector_op_has_a_timing():
    assert set(VECTOR_OPS) <= set(UNIT_TIMING)


def test_busy_time_is_items_times_interval_and_the_last_latency():
    assert UnitTiming(latency_cycles=3, interval_cycles=2).busy_cycles(10) == 23


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_horner_has_two_stages_per_degree(degree):
    assert UNIT_TIMING["horner"](degree) == UnitTiming(2 * degree, 1)


def test_log2_is_a_three_stage_pipeline():
    assert UNIT_TIMING["log2"]() == UnitTiming(3, 1)


def test_row_units_take_a_word_per_cycle():
    assert UNIT_TIMING["softmax"](length=197, lanes=32) == UnitTiming(2 * 7 + 2 * 5 + 35, 7)
    assert UNIT_TIMING["layernorm"](length=384, lanes=16) == UnitTiming(24 + 4 + 50, 24)
    assert UNIT_TIMING["layernorm"](length=16, lanes=16) == UnitTiming(1 + 4 + 50, 1)


@pytest.mark.parametrize(("features", "degree"), [(1, 1), (2, 3), (8, 2)])
def test_the_scale_predictor_overlaps_reading_and_computing(features, degree):
    timing = UNIT_TIMING["scale_predictor"](75264, features, scales=98, degree=degree)
    per_scale = max(features, 2)
    assert timing.latency_cycles == 20 + 2 * degree + features + 97 * per_scale
    assert timing.interval_cycles == 75264
    assert UNIT_TIMING["scale_predictor"](1, features, 98, degree).interval_cycles == 98 * per_scale


def test_more_lanes_are_never_slower():
    for op in ("softmax", "layernorm"):
        intervals = [UNIT_TIMING[op](length=197, lanes=n).interval_cycles for n in range(1, 300)]
        assert intervals == sorted(intervals, reverse=True)


def test_ceil_div():
    assert [ceil_div(n, 4) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
