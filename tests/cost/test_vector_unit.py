from dataclasses import replace

import pytest

from hwq.compiler.program import Operand, VectorLayer
from hwq.cost.vector_unit import busy_cycles, latency_cycles
from hwq.errors import SpecError
from hwq.numerics.units import UNITS, VECTOR_OPS, unit_of_op


def layer(op, rows=6, length=40, degree=1):
    elements = rows * length
    source, out = Operand("x", elements, 16), Operand("y", elements, 8)
    return VectorLayer(op, op, rows, length, (source,), out, degree=degree)


def test_row_units_count_rows():
    assert busy_cycles(layer("softmax"), 8) == 6 * 5 + UNITS["softmax"].timing(40, 8).latency_cycles
    assert busy_cycles(layer("layer_norm", 6, 200), 8) == 6 * 25 + 25 + 3 + 50


@pytest.mark.parametrize("op", ["activation", "requantize", "rescale", "encode", "add", "concat"])
def test_element_units_take_a_word_at_a_time_and_end_it_with_the_row(op):
    timing = unit_of_op(op).timing()
    assert busy_cycles(layer(op), 7) == 6 * 6 + timing.latency_cycles
    assert latency_cycles(layer(op), 7) == timing.latency_cycles


def test_a_layer_takes_the_time_of_its_unit():
    codes = replace(layer("encode"), unit="shift_log2")
    assert latency_cycles(codes, 8) == 7 == latency_cycles(layer("encode"), 8) + 3
    assert busy_cycles(codes, 8) == 6 * 5 + 7
    mean = layer("mean", rows=196, length=192)
    assert busy_cycles(mean, 16) == 12 * 196 + 4


def test_an_unknown_unit_is_refused():
    with pytest.raises(SpecError, match=r"^add: unit must be one of add for add, not 'divider'"):
        replace(layer("add"), unit="divider")


@pytest.mark.parametrize(("features", "degree"), [(1, 1), (4, 2), (8, 3)])
def test_extracting_and_predicting_take_together_what_the_predictor_gateware_takes(
    features, degree
):
    extract = busy_cycles(layer("range_extract", 14, 14 * 32), 32)
    predict = busy_cycles(layer("scale_predictor", 50, features * degree, degree), 32)
    values = 14 * 14 * 32
    gateware = UNITS["scale_predictor"].timing(values, features, 50, degree)
    assert extract + predict == values + gateware.latency_cycles


@pytest.mark.parametrize("op", VECTOR_OPS)
def test_every_op_takes_time_and_more_lanes_are_never_slower(op):
    times = [busy_cycles(layer(op, 64, 60), lanes) for lanes in (1, 2, 4, 8)]
    assert times[-1] > 0
    assert times == sorted(times, reverse=True)
