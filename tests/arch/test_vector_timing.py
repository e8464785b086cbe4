from dataclasses import replace

import pytest

from hwq.arch.accelerator import VectorUnit
from hwq.arch.vector_timing import pass_timing
from hwq.compiler.program import Operand, VectorLayer
from hwq.errors import SpecError
from hwq.numerics.units import UNITS, VECTOR_OPS, unit_of_op

LANES = {count: VectorUnit(lanes=count) for count in range(1, 70)}


def timing_of(layer, vector_unit):
    return pass_timing(layer.unit, layer.rows, layer.length, vector_unit)


def busy_cycles(layer, vector_unit):
    timing, items = timing_of(layer, vector_unit)
    return timing.busy_cycles(items)


def latency_cycles(layer, vector_unit):
    return timing_of(layer, vector_unit)[0].latency_cycles


def layer(op, rows=6, length=40):
    elements = rows * length
    source, out = Operand("x", elements, 16), Operand("y", elements, 8)
    return VectorLayer(op, op, rows, length, (source,), out)


def test_row_units_count_rows():
    assert (
        busy_cycles(layer("softmax"), LANES[8])
        == 6 * 5 + UNITS["softmax"].timing(40, 8).latency_cycles
    )
    norm = UNITS["layer_norm"].timing(200, 8).latency_cycles
    assert busy_cycles(layer("layer_norm", 6, 200), LANES[8]) == 6 * 25 + norm


@pytest.mark.parametrize("op", ["activation", "requantize", "rescale", "encode", "add", "concat"])
def test_element_units_take_a_word_at_a_time_and_end_it_with_the_row(op):
    timing = unit_of_op(op).timing()
    assert busy_cycles(layer(op), LANES[7]) == 6 * 6 + timing.latency_cycles
    assert latency_cycles(layer(op), LANES[7]) == timing.latency_cycles


def test_a_layer_takes_the_time_of_its_unit():
    codes = replace(layer("encode"), unit="shift_log2")
    assert latency_cycles(codes, LANES[8]) == 12 == latency_cycles(layer("encode"), LANES[8]) + 4
    assert busy_cycles(codes, LANES[8]) == 6 * 5 + 12
    mean = layer("mean", rows=196, length=192)
    assert busy_cycles(mean, LANES[16]) == 12 * 196 + 4


def test_an_unknown_unit_is_refused():
    with pytest.raises(SpecError, match=r"^add: unit must be one of add for add, not 'divider'"):
        replace(layer("add"), unit="divider")


def test_ranges_take_a_word_of_a_token_at_a_time_and_predictions_a_parameter():
    assert busy_cycles(layer("range_extract", 196, 100), LANES[32]) == 196 * 4 + 3
    assert busy_cycles(layer("scale_predictor", 1, 500), LANES[32]) == 2 * 500 + 15


@pytest.mark.parametrize("op", VECTOR_OPS)
def test_every_op_takes_time_and_more_lanes_are_never_slower(op):
    times = [busy_cycles(layer(op, 64, 60), LANES[lanes]) for lanes in (1, 2, 4, 8)]
    assert times[-1] > 0
    assert times == sorted(times, reverse=True)


def test_pipes_share_the_items_of_a_layer():
    one, two = (busy_cycles(layer("add"), VectorUnit(lanes=8, pipes=n)) for n in (1, 2))
    assert (one, two) == (6 * 5 + 1, 3 * 5 + 1)
    mean = layer("mean", rows=196, length=192)
    assert busy_cycles(mean, VectorUnit(lanes=16, pipes=5)) == 3 * 196 + 4


def test_an_architects_own_unit_has_its_own_lanes_and_time():
    own = VectorUnit(lanes=8, units=[{"unit": "softmax", "lanes": 4, "latency_cycles": 20}])
    assert busy_cycles(layer("softmax"), own) == 6 * 10 + 20
    assert busy_cycles(layer("add"), own) == 6 * 5 + 1
    slow = VectorUnit(lanes=8, units=[{"unit": "softmax", "interval_cycles": 100}])
    assert busy_cycles(layer("softmax"), slow) == 600 + latency_cycles(layer("softmax"), slow)
