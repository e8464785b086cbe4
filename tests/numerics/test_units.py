import re
from pathlib import Path

import pytest

from hwq.compiler.program import Operand, VectorLayer
from hwq.numerics.unit import UnitTiming, Workload, ceil_div
from hwq.numerics.units import UNITS, VECTOR_OPS

PAGE = Path(__file__).parents[2] / "docs/cost_model.md"
ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


def test_every_vector_op_has_a_timing():
    data = Operand("x", 4, 8)
    for op in VECTOR_OPS:
        assert VectorLayer("layer", op, 1, 4, (data,), data).unit in UNITS


def test_the_page_says_what_is_charged():
    names = {"cd": ceil_div, "log2": lambda lanes: (lanes - 1).bit_length(), "count": 196}
    section = PAGE.read_text(encoding="utf-8").split("## Vector unit")[1].split("\n## ")[0]
    seen = []
    for units, _, interval, latency in ROW.findall(section):
        for stem in re.findall(r"\w+", units):
            seen.append(stem)
            unit = UNITS[stem]
            for lanes in (1, 16, 24):
                known = {**names, "length": 197, "lanes": lanes}
                timing, _ = unit.items(unit.timing, Workload(196, 197, lanes))
                assert timing == UnitTiming(eval(latency, known), eval(interval, known)), stem
    charged = {stem for stem, unit in UNITS.items() if unit.ops}
    assert charged - {"uniform"} == set(seen)


def test_busy_time_is_items_times_interval_and_the_last_latency():
    assert UnitTiming(latency_cycles=3, interval_cycles=2).busy_cycles(10) == 23


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_horner_has_two_stages_per_degree(degree):
    assert UNITS["horner"].timing(degree) == UnitTiming(2 * degree, 1)


def test_log2_is_a_three_stage_pipeline():
    assert UNITS["log2"].timing() == UnitTiming(3, 1)


def test_row_units_take_a_word_per_cycle():
    assert UNITS["softmax"].timing(length=197, lanes=32) == UnitTiming(2 * 7 + 2 * 5 + 38, 7)
    assert UNITS["layer_norm"].timing(length=384, lanes=16) == UnitTiming(24 + 4 + 58, 24)
    assert UNITS["layer_norm"].timing(length=16, lanes=16) == UnitTiming(1 + 4 + 58, 1)


@pytest.mark.parametrize(("features", "degree"), [(1, 1), (2, 3), (8, 2)])
def test_the_scale_predictor_overlaps_reading_and_computing(features, degree):
    timing = UNITS["scale_predictor"].timing(75264, features, scales=98, degree=degree)
    per_scale = max(features, 2)
    assert timing.latency_cycles == 27 + 2 * degree + features + 97 * per_scale
    assert timing.interval_cycles == 75264
    assert (
        UNITS["scale_predictor"].timing(1, features, 98, degree).interval_cycles == 98 * per_scale
    )


def test_more_lanes_are_never_slower():
    for op in ("softmax", "layer_norm"):
        intervals = [UNITS[op].timing(length=197, lanes=n).interval_cycles for n in range(1, 300)]
        assert intervals == sorted(intervals, reverse=True)


def test_ceil_div():
    assert [ceil_div(n, 4) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
