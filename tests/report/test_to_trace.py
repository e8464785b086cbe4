import json
import os
from dataclasses import replace
from itertools import pairwise

import pytest

from hwq.arch.load import load_accelerator
from hwq.compiler.program import MatmulLayer, Operand, Program, VectorLayer
from hwq.errors import DataError
from hwq.numerics.pe import PeSpec
from hwq.report.to_trace import TRACKS, to_trace, write_trace
from tests.costs import cost_of


@pytest.fixture(scope="module")
def outlasted(result):
    """A matmul with two fused layers that together outlast it, and a layer of its own behind."""
    elements = 64 * 256
    image, weight = Operand("image", 64 * 64, 8), Operand("weight", 64 * 256, 8, constant=True)
    acc, codes = Operand("acc", elements, 32), Operand("codes", elements, 8)
    act, out = Operand("act", elements, 8), Operand("out", elements, 8)
    layers = (
        MatmulLayer("fc", 64, 256, 64, 1, PeSpec(), image, weight, acc),
        VectorLayer("fc.requantize", "requantize", 64, 256, (acc,), codes, fused=True),
        VectorLayer("act", "activation", 64, 256, (codes,), act, fused=True),
        VectorLayer("norm", "layer_norm", 64, 256, (act,), out),
    )
    machine = load_accelerator("edge_16x16")
    lanes = machine.vector_unit.model_copy(update={"lanes": 4})
    cost = cost_of(
        Program("outlasted", layers),
        machine.model_copy(update={"vector_unit": lanes}),
        timing="stall_free",
    )
    assert cost.layers[1].cycles == 0 < cost.layers[2].cycles < cost.layers[2].compute_cycles
    return replace(result, layers=cost.layers, totals=cost.totals)


@pytest.fixture(params=["result", "outlasted"])
def any_result(request):
    return request.getfixturevalue(request.param)


def events(result, track=None):
    """The complete events in the order of the file, of one track if it is named."""
    found = [e for e in json.loads(to_trace(result))["traceEvents"] if e["ph"] == "X"]
    return [e for e in found if track in (None, e["cat"])]


def layer_events(result):
    return [event for event in events(result) if event["cat"] != "DRAM stalls"]


def cycles(event):
    return event["args"]["start_cycle"], event["args"]["end_cycle"]


def test_every_layer_is_one_event_in_execution_order(any_result):
    assert [e["name"] for e in layer_events(any_result)] == [x.name for x in any_result.layers]
    for event, layer in zip(layer_events(any_result), any_result.layers, strict=True):
        assert event["cat"] == ("array" if layer.op == "matmul" else "vector unit")


def test_tracks_are_named_and_ordered(result):
    trace = json.loads(to_trace(result))
    named = {
        (e["name"], e["tid"]): e["args"]
        for e in trace["traceEvents"]
        if e["ph"] == "M" and e["name"] != "process_name"
    }
    for position, name in enumerate(("array", "vector unit", "DRAM stalls"), start=1):
        assert named["thread_name", position] == {"name": name}
        assert named["thread_sort_index", position] == {"sort_index": position}
    assert all(TRACKS[e["tid"] - 1] == e["cat"] for e in events(result))
    assert trace["otherData"]["model"] == "tiny"
    assert trace["otherData"]["cycles"] == result.totals.cycles


@pytest.mark.parametrize("track", TRACKS)
def test_events_of_a_track_do_not_overlap(any_result, track):
    own = events(any_result, track)
    for before, after in pairwise(own):
        assert cycles(before)[1] <= cycles(after)[0]
        assert before["ts"] + before["dur"] <= after["ts"] + 1e-9
    assert own


def test_the_last_event_ends_at_the_totals(any_result):
    found = events(any_result)
    assert max(cycles(event)[1] for event in found) == any_result.totals.cycles
    end_us = max(event["ts"] + event["dur"] for event in found)
    assert end_us == pytest.approx(1000 * any_result.totals.latency_ms, abs=1e-3)
    assert min(event["ts"] for event in found) == 0


def test_a_cycle_lasts_a_period_of_the_clock(result):
    for event in events(result):
        start, end = cycles(event)
        assert event["ts"] == pytest.approx(start / 500, abs=1e-9)  # edge_16x16: 500 MHz
        assert event["dur"] == pytest.approx((end - start) / 500, abs=1e-9)


def test_exposed_layers_follow_each_other(any_result):
    """Each layer's exposed time ends where its event does, except if some of it is hidden."""
    now = 0
    for event, layer in zip(layer_events(any_result), any_result.layers, strict=True):
        now += layer.cycles
        start, end = cycles(event)
        assert end - start == max(layer.cycles, layer.compute_cycles)
        assert end <= now if layer.compute_cycles > layer.cycles else end == now
    assert now == any_result.totals.cycles


def test_hidden_work_lies_beside_its_matmul(outlasted):
    matmul, first, second, norm = layer_events(outlasted)
    assert cycles(first)[0] == cycles(matmul)[0]
    assert cycles(second)[0] == cycles(first)[1]
    hidden = [layer.compute_cycles - layer.cycles for layer in outlasted.layers[1:3]]
    assert cycles(norm)[0] == cycles(matmul)[1] + outlasted.layers[2].cycles >= cycles(second)[1]
    assert [event["args"]["hidden_cycles"] for event in (first, second)] == hidden
    assert "hidden_cycles" not in norm["args"]


def test_stalls_end_their_layer(any_result):
    """They sum to the layers' stalls, and lie within the layer's event."""
    whole = {event["name"]: cycles(event) for event in layer_events(any_result)}
    stalled = {x.name: x.stall_cycles for x in any_result.layers if x.stall_cycles}
    found = events(any_result, "DRAM stalls")
    assert {e["name"]: cycles(e)[1] - cycles(e)[0] for e in found} == stalled
    for event in found:
        assert whole[event["name"]][0] <= cycles(event)[0]
        assert whole[event["name"]][1] == cycles(event)[1]


def test_arguments_are_the_fields_of_the_layer(result):
    matmul, requantize = layer_events(result)[:2]
    layer = result.layers[0]
    assert matmul["args"]["cycles"] == layer.cycles
    assert matmul["args"]["utilization"] == layer.utilization
    assert matmul["args"]["dram_read_bytes"] == layer.dram_read_bytes
    assert matmul["args"]["energy_pj"]["total"] == layer.energy_pj.total
    assert "utilization" not in requantize["args"]


def test_any_text_and_any_number_is_valid_json(measured):
    strange = replace(measured.layers[0], name='a"b\\\n\udcff', sqnr_db=float("inf"))
    odd = replace(measured, layers=(strange, *measured.layers[1:]))
    assert layer_events(odd)[0]["name"] == strange.name
    assert "sqnr_db" not in layer_events(odd)[0]["args"]
    to_trace(odd).encode()


def test_it_writes_the_same_text_whole_or_not_at_all(tmp_path, result):
    write_trace(result, tmp_path / "trace.json")
    assert (tmp_path / "trace.json").read_text() == to_trace(result)
    with pytest.raises(DataError, match="cannot be written"):
        write_trace(result, tmp_path)
    assert os.listdir(tmp_path) == ["trace.json"]
