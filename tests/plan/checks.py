"""A plan, run byte by byte, against what the integer graph means."""

import numpy as np

from hwq.cost.estimate import estimate
from hwq.plan.make_plan import make_plan
from hwq.plan.verify import verify
from hwq.runtime.event_clock import EventClock
from hwq.runtime.plan_executor import PlanExecutor
from hwq.runtime.reference_executor import ReferenceExecutor


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


def every_tensor(graph, pixels):
    """Return what the integer graph means, by the name of each tensor."""
    names = [node.name for node in graph.nodes]
    return ReferenceExecutor(graph).run(pixels, names).values


def assert_equal_everywhere(plan, program, accelerator, pixels, wanted, moves_first=False):
    """Check every tensor that reaches a memory, and the cycles."""

    def watch(slot, layer, command, values):
        tensor = layer.out.tensor
        if tensor not in wanted:  # per-image multipliers are no tensor of the graph
            assert tensor.endswith(".multipliers")
            return
        if isinstance(values, dict) and "token" in values:
            assert np.array_equal(dense(values, wanted[tensor].shape), wanted[tensor]), layer.name
            return
        if isinstance(values, dict):  # a scale and its reciprocal
            assert np.array_equal(np.stack([*values.values()], axis=-1), wanted[tensor]), layer.name
            return
        whole = expected(layer, wanted[tensor])
        part = values.reshape(-1, values.shape[-1])
        (row, column), (rows, columns) = command.origin, part.shape
        if layer.out.along == ("all",):  # written with the last tile
            row = column = 0
        assert np.array_equal(part, whole[row : row + rows, column : column + columns]), layer.name

    clock = EventClock(plan, accelerator)
    executor = PlanExecutor(plan, program)
    results = executor.run(pixels, moves_first, clock, watch)
    assert clock.cycles == estimate(plan, accelerator).totals.cycles
    for name, values in results.items():
        assert np.array_equal(values, wanted[name].ravel()), name


def planned(program, accelerator):
    """Return a plan that verifies."""
    plan = make_plan(program, accelerator)
    verify(plan)
    return plan
