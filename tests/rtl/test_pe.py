import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, SHIFT, SHIFT_PARITY, PeSpec
from hwq.rtl.pe import AccumulatingPe, StationaryPe, decoded, decoded_layout

PES = {
    "multiply": PeSpec(MULTIPLY, 4, 4, 10),
    "signed": PeSpec(MULTIPLY, 4, 4, 16, (*range(8), *range(-8, 0))),
    "shift": PeSpec(SHIFT, 4, 4, 20, (1,) * 15 + (0,), (*range(14, -1, -1), 0)),
    "negative": PeSpec(SHIFT, 2, 4, 10, (1, -1, 0, -1), (0, 0, 0, 3)),
    "shift_parity": PeSpec(
        SHIFT_PARITY,
        4,
        4,
        16,
        (1,) * 15 + (0,),
        tuple((15 - c) // 2 for c in range(16)),
        (0, 1) * 8,
    ),
    "multiply_shift": PeSpec(MULTIPLY_SHIFT, 4, 4, 12, (*range(8), *range(8)), (0,) * 8 + (3,) * 8),
}


def pairs(spec):
    """Every code with every b."""
    half = 1 << (spec.b_bits - 1)
    grid = np.meshgrid(np.arange(1 << spec.a_bits), np.arange(-half, half))
    a, b = (np.random.default_rng(0).permutation(np.stack([x.ravel() for x in grid], 1))).T
    return a, b


def code_bits(spec):
    """What the array's edge makes of every code, from the gateware."""
    from amaranth.hdl import Module, Signal

    m, code = Module(), Signal(spec.a_bits)
    out = Signal(decoded_layout(spec).size)
    m.d.comb += out.eq(decoded(spec, code))
    bits = []

    async def bench(ctx):
        for value in range(1 << spec.a_bits):
            ctx.set(code, value)
            bits.append(ctx.get(out))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return bits


def run(pe, bench):
    simulator = Simulator(pe)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("keeps_a", [False, True])
@pytest.mark.parametrize("name", PES)
def test_a_stationary_element_adds_to_the_sums_that_pass(name, keeps_a):
    spec = PES[name]
    pe, bits = StationaryPe(spec, keeps_a), code_bits(spec)
    a, b = pairs(spec)
    acc = np.random.default_rng(1).integers(-100, 100, (spec.planes, a.size))
    got = []

    async def bench(ctx):
        kept, streamed = (pe.top_in, pe.left_in) if keeps_a else (pe.left_in, pe.top_in)
        for i in range(a.size):
            ctx.set(Value.cast(kept), bits[a[i]])
            ctx.set(Value.cast(streamed), int(b[i]))
            for control in (pe.load_in, pe.swap_in):
                ctx.set(control, 1)
                await ctx.tick()
                ctx.set(control, 0)
            ctx.set(Value.cast(pe.top_in), 0)  # what is at the top no longer matters
            for plane in range(spec.planes):
                ctx.set(pe.sums_in[plane], int(acc[plane, i]))
            await ctx.tick()
            got.append([ctx.get(pe.sums_out[plane]) for plane in range(spec.planes)])

    run(pe, bench)
    assert_array_equal(np.array(got).T, spec.compute(acc, a, b))


@pytest.mark.parametrize("name", PES)
def test_an_accumulating_element_starts_anew_and_hands_over(name):
    spec = PES[name]
    pe, bits = AccumulatingPe(spec), code_bits(spec)
    a, b = pairs(spec)
    got = []

    async def bench(ctx):
        for i in range(a.size):
            ctx.set(Value.cast(pe.left_in), bits[a[i]])
            ctx.set(pe.top_in, int(b[i]))
            ctx.set(pe.first_in, i % 8 == 0)
            ctx.set(pe.take_in, i % 8 == 0)  # the eight before, while the next ones begin
            await ctx.tick()
            if i and i % 8 == 0:
                got.append([ctx.get(pe.sums_out[plane]) for plane in range(spec.planes)])

    run(pe, bench)
    want = []
    for start in range(0, 8 * len(got), 8):
        acc = np.zeros((spec.planes, 1), np.int64)
        for i in range(start, start + 8):
            acc = spec.compute(acc, a[i : i + 1], b[i : i + 1])
        want.append(acc[:, 0])
    assert_array_equal(got, want)
