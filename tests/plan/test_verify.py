"""What `verify` refuses, one wrong thing at a time."""

from dataclasses import replace

import pytest

from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.compiler.view import View
from hwq.errors import SpecError
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.numerics.unit import Field
from hwq.plan.make_plan import make_plan
from hwq.plan.verify import verify
from tests.plan.machines import machine


@pytest.fixture(scope="module")
def plan():
    """One step: a [5, 30] from DRAM in rows of 32, b [30, 70] in rows of 72, parameters."""
    acc = Operand("acc", 5 * 70, 32)
    a, b = Operand("x", 5 * 30, 4), Operand("w", 30 * 70, 8, constant=True)
    words = Operand("p", 70, 49, constant=True, fields=(Field("mult", 49),))
    layers = (
        MatmulLayer("fc", 5, 70, 30, 1, PeSpec(MULTIPLY, 4, 8), a, b, acc),
        VectorLayer("r", "requantize", 5, 70, (acc, words), Operand("y", 350, 8), fused=True),
    )
    made = make_plan(Program("p", layers), machine(4, 4, (4, 1, 8)))
    verify(made)
    return made


def changed(plan, name, stage=None, **values):
    """The plan with another port."""
    (group,) = plan.groups
    (step,) = group.steps
    assert name in [port.name for port in step.ports]

    def other(port):
        if port.name != name:
            return port
        return replace(port, **values, stage=replace(port.stage, **(stage or {})))

    ports = {"inputs": tuple(map(other, step.inputs)), "outputs": tuple(map(other, step.outputs))}
    return replace(plan, groups=(replace(group, steps=(replace(step, **ports),)),))


def refused(plan, message):
    with pytest.raises(SpecError, match=message):
        verify(plan)


def test_rows_of_blocks_have_the_quantum_of_their_width(plan):
    quanta = {port.name: port.stage.quantum for port in plan.groups[0].steps[0].ports}
    assert quanta == {"a": 8, "b": 4, "1.1": 4, "y": 4}
    for name, quantum in quanta.items():
        for wrong in (1, 2 * quantum):
            refused(
                changed(plan, name, {"quantum": wrong}),
                rf"^fc: {name}: quantum must be {quantum}, not {wrong}$",
            )


def test_blocks_are_cut_where_beats_begin(plan):
    (group,) = plan.groups
    step = replace(group.steps[0], tile_k=12)
    refused(
        replace(plan, groups=(replace(group, steps=(step,)),)),
        "^fc: a: tile_k must be 30 or a multiple of 8, not 12$",
    )


@pytest.mark.parametrize(
    ("name", "memory", "message"),
    [
        ("a", "weight", "must be in activation or parameter, not weight"),
        ("a", "output", "must be in activation or parameter, not output"),
        ("b", "activation", "must be in weight, not activation"),
        ("b", "parameter", "must be in weight, not parameter"),
        ("1.1", "weight", "must be in activation or parameter, not weight"),
        ("y", "output", "must be in activation or parameter, not output"),
        ("y", "weight", "must be in activation or parameter, not weight"),
    ],
)
def test_blocks_are_in_the_buffer_of_their_port(plan, name, memory, message):
    refused(changed(plan, name, {"memory": memory}), f"^fc: {name}: blocks {message}$")


def test_what_lies_between_rows_is_not_read(plan):
    rows = View(0, ((), ((5, 31),), ((30, 1),)))
    refused(changed(plan, "a", view=rows), "^fc: a: reads what is not written$")


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(0, (((5, 29), (30, 1)),)), "strides must lead to every element once"),
        (View(-1, (((5, 32), (30, 1)),)), "element 156 must be below 157"),
        (View(0, (((5, -1), (30, 1)),)), "5 elements -1 apart cannot be"),
    ],
)
def test_a_home_has_a_place_for_every_element(plan, view, message):
    homes = tuple(replace(home, view=view) if home.tensor == "x" else home for home in plan.homes)
    refused(replace(plan, homes=homes), f"^x: {message}$")
