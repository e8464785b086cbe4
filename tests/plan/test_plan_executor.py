"""What a plan computes, byte by byte, is what the integer graph means."""

import numpy as np
import pytest

from hwq.compiler.emit_program import emit_program
from hwq.cost.estimate import estimate
from hwq.methods.catalog import METHODS
from hwq.plan.make_plan import make_plan
from hwq.runtime.event_clock import EventClock
from hwq.runtime.plan_executor import PlanExecutor
from hwq.runtime.reference_executor import ReferenceExecutor
from tests.plan.machines import machine

MACHINES = {
    "4x4": machine(4, 4, (1, 2, 8), rate=20, latency=9),
    "8x3": machine(8, 3, (2, 1.25, 6), rate=3),
}


def expected(layer, tensor):
    """What a layer stores of a tensor: [rows, columns], all instances one after another."""
    view = layer.out.view
    places = np.full((), view.offset)
    for axis, size in enumerate(view.shape):
        places = places[..., np.newaxis] + view.places(axis, 0, size)
    values = tensor.ravel()[places]
    return values.reshape(-1, values.shape[-1])


def dense(words, shape):
    """A list of outliers as the tensor of their values."""
    side = np.zeros(shape, np.int64)
    for value, token, channel in zip(*words.values(), strict=True):
        side[..., token, channel] += value
    return side


def assert_equal_everywhere(graph, program, accelerator, pixels, moves_first=False):
    plan = make_plan(program, accelerator)
    names = [node.name for node in graph.nodes]
    wanted = ReferenceExecutor(graph).run(pixels, names).values
    stored = {layer.name: 0 for layer in program.layers}

    def watch(layer, origin, values):
        tensor = layer.out.tensor
        if tensor not in wanted:  # per-image multipliers are no tensor of the graph
            assert tensor.endswith(".multipliers")
            return
        if isinstance(values, dict):
            assert np.array_equal(dense(values, wanted[tensor].shape), wanted[tensor]), layer.name
            return
        whole = expected(layer, wanted[tensor])
        part = values.reshape(-1, values.shape[-1])
        (row, column), (rows, columns) = origin, part.shape
        if layer.out.along == ("all",):  # written with the last tile
            row = column = 0
        assert np.array_equal(part, whole[row : row + rows, column : column + columns]), layer.name
        stored[layer.name] += part.size

    clock = EventClock(plan, accelerator)
    executor = PlanExecutor(plan, program)
    results = executor.run(pixels, moves_first, clock, watch)
    assert clock.cycles == estimate(plan, accelerator).totals.cycles
    for name in graph.outputs:
        assert np.array_equal(results[name], wanted[name].ravel())
    return plan, stored


@pytest.mark.parametrize("bits", ["w8a8", "w4a4", "w3a3"])
@pytest.mark.parametrize(
    "method",
    [name for name in METHODS if name != "scalepredictor"]
    + ["minmax/log2", "scalepredictor/minmax", "scalepredictor/repq_vit"],
)
def test_all_methods(method, bits, quantise, lower):
    integer = lower(quantise(method, bits))
    program = emit_program(integer)
    pixels = np.random.default_rng(3).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    for number, accelerator in enumerate(MACHINES.values()):
        assert_equal_everywhere(integer, program, accelerator, pixels, bool(number))
