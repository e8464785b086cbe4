"""What an accelerator in gateware has no part for is refused, with the layer's name."""

import numpy as np
import pytest

from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.errors import SpecError
from hwq.numerics.add import AddSpec
from hwq.numerics.epilogue import Epilogue
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.plan.make_plan import make_plan
from hwq.plan.timing import WORK_WORDS
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.records import records
from tests.plan.machines import machine

SIDE = 8
MACHINE = machine(4, 4, (8, 2, 8, 1), rate=31, lanes=4)
ONE = np.array(1, np.int64)


def tensor(name: str, bits: int = 8, constant: bool = False) -> Operand:
    return Operand(name, SIDE * SIDE, bits, constant, "int8" if bits == 8 else "int16")


def epilogue(bits: int, guard: int = 12) -> Epilogue:
    most = (1 << (bits - 1)) - 1
    return Epilogue(0 * ONE, 0 * ONE, 40000 * ONE, 30 * ONE, 0 * ONE, -most - 1, most, guard=guard)


def vector(name: str, op: str, inputs: list[Operand], out: Operand, spec: object, fused: bool):
    return VectorLayer(name, op, SIDE, SIDE, tuple(inputs), out, fused, spec=spec)


def refused(layers: list) -> str:
    """Return why there are no records of a program."""
    program = Program("p", tuple(layers))
    gateware = AcceleratorGateware(MACHINE, max_length=64)
    with pytest.raises(SpecError) as caught:
        records(gateware, make_plan(program, MACHINE), program)
    return str(caught.value)


def product(b: Operand) -> list:
    """Layers whose last ones are a product with operand b and its requantization."""
    image, x, codes = tensor("image", 16), tensor("x", 16), tensor("codes")
    signed = (*range(128), *range(-128, 0))
    size = SIDE, SIDE, SIDE, 1, PeSpec(MULTIPLY, 8, 8, 32, signed)
    acc = tensor("acc", 32)
    return [
        vector("move", "concat", [image], x, None, False),
        vector("encode", "encode", [x], codes, epilogue(8, 0), False),
        MatmulLayer("fc", *size, codes, b, acc),
        vector("requantize", "requantize", [acc], tensor("y", 16), epilogue(16), True),
    ]


def added() -> VectorLayer:
    spec = AddSpec(FixedPoint(16, 8))
    return vector("add", "add", [tensor("x", 16), tensor("y", 16)], tensor("z", 16), spec, True)


def test_a_product_with_a_residual_has_records() -> None:
    program = Program("p", (*product(tensor("w", constant=True)), added()))
    gateware = AcceleratorGateware(MACHINE, max_length=64)
    assert len(records(gateware, make_plan(program, MACHINE), program).work) > 3 * WORK_WORDS


def test_a_computed_operand_and_a_residual_have_one_port() -> None:
    said = refused([*product(tensor("codes")), added()])
    assert said == "fc: one port reads either a computed operand b or a residual"


def test_an_order_that_the_pipe_does_not_have_is_named() -> None:
    layers = [*product(tensor("w", constant=True)), added()]
    twice = tensor("u")
    layers.append(vector("late", "encode", [tensor("z", 16)], twice, epilogue(8, 0), True))
    assert refused(layers) == "fc: nothing streams late"


def test_sums_are_not_results() -> None:
    assert refused(product(tensor("w", constant=True))[:3]) == "fc: sums must not be stored"


def test_an_encoder_has_one_multiplier() -> None:
    layers = product(tensor("w", constant=True))
    each = epilogue(8, 0)
    several = Epilogue(
        each.bias, each.correction, np.arange(1, 9), each.shift, each.zero_point, each.lo, each.hi
    )
    layers[1] = vector("encode", "encode", [tensor("x", 16)], tensor("codes"), several, False)
    assert refused(layers) == "encode: an encoder has one mult, not one a channel"


def test_a_value_that_does_not_fit_its_field_is_refused() -> None:
    layers = product(tensor("w", constant=True))
    layers[-1] = vector(
        "requantize",
        "requantize",
        [tensor("acc", 32)],
        tensor("y", 16),
        Epilogue(0 * ONE, 0 * ONE, 40000 * ONE, 64 * ONE, 0 * ONE, -9, 9, guard=12),
        True,
    )
    assert refused(layers) == "record.results.scaling.shift must be in 0..63, not 64"
