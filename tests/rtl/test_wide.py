"""Products in parts, and shifts in two steps, are products and shifts."""

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Shape, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.wide import (
    carried,
    leading,
    part_products,
    parts,
    register,
    rounded,
    shifted_far,
    shifted_near,
    total,
)
from hwq.testing import every, run_stream

SHAPES = [unsigned(1), unsigned(17), signed(17), unsigned(20), signed(30), unsigned(35), signed(47)]


class Product(StreamUnit):
    """a * b."""

    def __init__(self, a: Shape, b: Shape) -> None:
        super().__init__(data.StructLayout({"a": a, "b": b}), signed(64))

    @property
    def latency_cycles(self) -> int:
        return 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, 2)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        products = part_products(m, p.load[0], self.i.p.a, self.i.p.b, "product")
        m.d.comb += self.o.payload.eq(register(m, p.load[1], total(products), "result", signed(64)))
        return m


class Shifted(StreamUnit):
    """(value + 2**(by - 1) >> by) + addend, of by in 1..63."""

    def __init__(self) -> None:
        value = {"value": signed(40), "by": unsigned(6), "addend": signed(9)}
        super().__init__(data.StructLayout(value), signed(42))

    @property
    def latency_cycles(self) -> int:
        return 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, 2)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        by, addend = (carried(m, p.load[:1], self.i.p[name], name) for name in ("by", "addend"))
        far = register(m, p.load[0], shifted_far(self.i.p.value << 1, self.i.p.by), "far")
        result = rounded(shifted_near(far, by), addend)
        m.d.comb += self.o.payload.eq(register(m, p.load[1], result, "result", signed(42)))
        return m


def ends(shape: Shape) -> tuple[int, int]:
    return (
        (-(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1)
        if shape.signed
        else (
            0,
            (1 << shape.width) - 1,
        )
    )


def drawn(shape: Shape, count: int, seed: int) -> np.ndarray:
    least, most = ends(shape)
    numbers = np.random.default_rng(seed).integers(least, most, count, endpoint=True)
    numbers[:4] = [least, most, least, most]
    return numbers


@pytest.mark.parametrize("a", SHAPES, ids=repr)
@pytest.mark.parametrize("b", [unsigned(16), signed(16), unsigned(19)], ids=repr)
def test_products_of_parts_add_up(a: Shape, b: Shape) -> None:
    inputs = np.stack([drawn(a, 100, 0), drawn(b, 100, 1)], axis=-1)
    inputs[2:4, 1] = inputs[[1, 0], 1]
    if a.width + b.width > 63:
        inputs[:, 0] >>= 3
    run = run_stream(Product(a, b), inputs, sink=every(3))
    assert_array_equal(run.outputs, inputs.prod(axis=1))


def test_a_shift_in_two_steps_rounds_half_up() -> None:
    value, addend = drawn(signed(40), 500, 2), drawn(signed(9), 500, 3)
    by = np.random.default_rng(4).integers(1, 41, 500)
    run = run_stream(Shifted(), np.stack([value, by, addend], axis=-1))
    assert_array_equal(run.outputs, ((value + (1 << (by - 1))) >> by) + addend)


def test_parts_fit_a_multiplier_with_a_sign() -> None:
    def widths(shape: Shape) -> list[tuple[int, int, bool]]:
        return [(start, len(part), part.shape().signed) for start, part in parts(Const(0, shape))]

    assert widths(signed(40)) == [(0, 17, False), (17, 17, False), (34, 6, True)]
    assert widths(signed(35)) == [(0, 17, False), (17, 18, True)]
    assert widths(unsigned(34)) == [(0, 17, False), (17, 17, False)]


def test_terms_that_do_not_overlap_are_one_operand() -> None:
    terms = [(0, Const(3, 33)), (34, Const(-2, signed(20))), (17, Const(5, 33))]
    assert len(total(terms).operands) == 2


@pytest.mark.parametrize("width", [1, 2, 5, 8, 31])
def test_the_leading_one_is_found(width: int) -> None:
    m, value = Module(), Signal(width)
    place = Signal(5)
    m.d.comb += place.eq(leading(value))
    simulator = Simulator(m)

    async def testbench(ctx) -> None:
        for number in [
            *range(min(1 << width, 64)),
            *(1 << k for k in range(width)),
            (1 << width) - 1,
        ]:
            ctx.set(value, number)
            assert ctx.get(place) == max(number.bit_length() - 1, 0)

    simulator.add_testbench(testbench)
    simulator.run()
