import itertools
import re
from functools import partial

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from hwq.arch.systolic import matmul_cycles
from hwq.numerics.array import DATAFLOWS, ArraySpec
from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, SHIFT, SHIFT_PARITY, PeSpec
from hwq.rtl.array import Array
from hwq.rtl.array_grid import ArrayGrid
from hwq.rtl.code_decoder import any_element
from hwq.rtl.payload import pack, unpack
from hwq.rtl.shared import emit_shared

PES = {
    "any": any_element(4, 20),
    "multiply": PeSpec(MULTIPLY, 4, 4, 16),
    "shift": PeSpec(SHIFT, 4, 4, 20, (1,) * 15 + (0,), (*range(14, -1, -1), 0)),
    "shift_parity": PeSpec(SHIFT_PARITY, 2, 4, 12, (), (1, 1, 0, 0), (0, 1, 0, 1)),
    "multiply_shift": PeSpec(MULTIPLY_SHIFT, 4, 4, 16, (*range(8), *range(8)), (0,) * 8 + (3,) * 8),
}
SHAPES = list(itertools.product((1, 2, 3, 7), (1, 2, 4, 7), (1, 3, 5)))


class ArrayBench:
    """What a test does to the array; all methods are for `run`'s bench.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec):
        self.spec, self.dut = spec, Array(spec)

    def run(self, bench):
        """Simulate `bench(self, ctx)`."""
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(partial(bench, self))
        simulator.run()

    async def write(self, ctx, side, words, base=0):
        """Write words of a or b, one a cycle."""
        port = getattr(self.dut, f"{side}_write")
        layout = getattr(self.dut, f"{side}_word")
        for address, word in enumerate(pack(layout, words), base):
            ctx.set(port.address, address)
            ctx.set(Value.cast(port.data), word)
            ctx.set(port.enable, 1)
            await ctx.tick()
        ctx.set(port.enable, 0)

    async def multiply(self, ctx, program):
        """Run a program; return the cycles from its start to its end, and what left `o`."""
        dut = self.dut
        for name, value in program.items():
            ctx.set(dut.product[name], value)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(Value.cast(dut.product), -1)  # it has been taken
        cycles, sent = 1, {}
        while ctx.get(dut.busy):
            cycles += 1
            assert cycles < 10_000
            if ctx.get(dut.o.valid):
                address = ctx.get(dut.o.address)
                assert address not in sent
                sent[address] = self.sums(ctx.get(Value.cast(dut.o.sums)))
            await ctx.tick()
        assert ctx.get(dut.cycles) == cycles
        return cycles, sent

    async def read(self, ctx, count, base=0):
        """Read words of results: int64[count, columns, planes]."""
        words = []
        for address in range(base, base + count):
            ctx.set(self.dut.read_address, address)
            await ctx.tick()
            words.append(self.sums(ctx.get(Value.cast(self.dut.read_data))))
        return np.array(words)

    def sums(self, word):
        """Take a word of results apart: int64[columns, planes]."""
        return unpack(self.dut.result_word, [word]).reshape(self.spec.columns, self.spec.pe.planes)


def operands(spec, rng, m, k, n):
    """Random codes [M, K] and numbers [K, N]."""
    half = 1 << (spec.pe.b_bits - 1)
    return rng.integers(0, 1 << spec.pe.a_bits, (m, k)), rng.integers(-half, half, (k, n))


def check(spec, shapes):
    """Values, o, and cycles of every product, in one simulation."""
    rng = np.random.default_rng(0)

    async def bench(array, ctx):
        for m, k, n in shapes:
            a, b = operands(spec, rng, m, k, n)
            want = spec.result_words(spec.compute(a, b))
            # what is beyond the edges must not matter
            await array.write(ctx, "a", spec.a_words(a, fill=1))
            await array.write(ctx, "b", spec.b_words(b, fill=5))
            cycles, sent = await array.multiply(ctx, spec.program(m, k, n))
            assert_array_equal(await array.read(ctx, len(want)), want)
            assert_array_equal([sent[address] for address in range(len(want))], want)
            shape = (m, n, k, spec.rows, spec.columns)
            assert cycles == matmul_cycles(*shape, spec.dataflow, "rtl"), shape

    ArrayBench(spec).run(bench)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("rows,columns", [(1, 1), (2, 3), (3, 2), (1, 4), (4, 1)])
def test_every_shape_in_the_time_of_the_cost_model(dataflow, rows, columns):
    check(ArraySpec(rows, columns, dataflow, PES["multiply"], 64, 64, 64, 8), SHAPES)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_as_many_rows_as_the_width_of_the_extents_allows(dataflow):
    spec = ArraySpec(16, 1, dataflow, PES["multiply"], 64, 64, 64, extent_bits=4)
    check(spec, [(1, 1, 1), (3, 15, 2), (15, 2, 3)])


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("name", PES)
def test_every_element(dataflow, name):
    check(ArraySpec(2, 3, dataflow, PES[name], 64, 64, 64, 8), SHAPES[::5])


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_tiles_of_k_add_up_and_only_the_last_sends(dataflow):
    spec = ArraySpec(2, 3, dataflow, PeSpec(MULTIPLY, 4, 4, 16), 64, 64, 64, 8)
    rng = np.random.default_rng(0)

    async def bench(array, ctx):
        a, b = operands(spec, rng, 5, 11, 4)
        want = spec.result_words(spec.compute(a, b))
        for start, end in ((0, 4), (4, 5), (5, 11)):
            # each tile has its place in the memories, as while the next one is brought
            await array.write(ctx, "a", spec.a_words(a[:, start:end]), 9)
            await array.write(ctx, "b", spec.b_words(b[start:end]), 7)
            program = spec.program(
                5, end - start, 4, bases=(9, 7, 5), accumulate=start > 0, complete=end == 11
            )
            cycles, sent = await array.multiply(ctx, program)
            assert cycles == matmul_cycles(5, 4, end - start, 2, 3, dataflow, "rtl")
            assert len(sent) == (len(want) if end == 11 else 0)
        assert_array_equal(await array.read(ctx, len(want), 5), want)
        assert_array_equal([sent[address + 5] for address in range(len(want))], want)

    ArrayBench(spec).run(bench)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_tile_of_a_larger_matrix_by_its_strides(dataflow):
    spec = ArraySpec(2, 2, dataflow, PeSpec(MULTIPLY, 4, 4, 16), 64, 64, 64, 8)
    rng = np.random.default_rng(0)
    m, k, n = 6, 8, 10
    # from word 4 of the tiles of the dimension that runs in time; whole tiles of the others
    part = {
        "output_stationary": (slice(2, 5), slice(4, 7), slice(4, 10)),
        "weight_stationary": (slice(4, 6), slice(2, 7), slice(4, 9)),
        "input_stationary": (slice(2, 6), slice(4, 8), slice(4, 8)),
    }[dataflow]

    async def bench(array, ctx):
        a, b = operands(spec, rng, m, k, n)
        await array.write(ctx, "a", spec.a_words(a))
        await array.write(ctx, "b", spec.b_words(b))
        whole = spec.program(m, k, n)
        (m0, m1), (k0, k1), (n0, n1) = ((s.start, s.stop) for s in part)
        at_row, at_column, at_stream = spec.extents(m0, k0, n0)
        left, top, result = (whole[f"{name}_stride"] for name in ("left", "top", "result"))
        stationary = dataflow != "output_stationary"
        left_base = at_row // 2 * left + at_stream
        top_base = at_column // 2 * top + (at_row if stationary else at_stream)
        result_base = at_column // 2 * result + (at_stream if stationary else at_row)
        a_first = spec.a_is_left
        bases = (left_base, top_base) if a_first else (top_base, left_base)
        strides = (left, top) if a_first else (top, left)
        program = spec.program(
            m1 - m0, k1 - k0, n1 - n0, bases=(*bases, result_base), strides=(*strides, result)
        )
        _, sent = await array.multiply(ctx, program)
        want = np.zeros((1, m, n), np.int64)
        want[:, part[0], part[2]] = spec.compute(a[part[0], part[1]], b[part[1], part[2]])
        words = spec.result_words(want)
        for address, word in sent.items():
            assert_array_equal(word, words[address])
        assert sum(word.any() for word in words) <= len(sent)

    ArrayBench(spec).run(bench)


def test_the_next_operand_may_be_written_while_the_array_works():
    spec = ArraySpec(2, 2, "weight_stationary", PeSpec(MULTIPLY, 4, 4, 16), 64, 64, 64, 8)
    rng = np.random.default_rng(0)

    async def bench(array, ctx):
        a, b = operands(spec, rng, 8, 4, 4)
        await array.write(ctx, "a", spec.a_words(a))
        await array.write(ctx, "b", spec.b_words(b))
        dut = array.dut
        for name, value in spec.program(8, 4, 4).items():
            ctx.set(dut.product[name], value)
        ctx.set(dut.start, 1)
        await ctx.tick()
        # start stays high, which a busy array does not see
        await array.write(ctx, "a", spec.a_words(a), 32)
        ctx.set(dut.start, 0)
        while ctx.get(dut.busy):
            await ctx.tick()
        want = spec.result_words(spec.compute(a, b))
        assert_array_equal(await array.read(ctx, len(want)), want)
        assert ctx.get(dut.cycles) == matmul_cycles(8, 4, 4, 2, 2, "weight_stationary", "rtl")

    ArrayBench(spec).run(bench)


@pytest.mark.parametrize(
    ("dataflow", "controls"), [("output_stationary", 2), ("weight_stationary", 1)]
)
def test_a_control_passes_a_row_by_one_flip_flop(dataflow, controls):
    """Of those that come to every row a cycle later: begin, and take."""
    grid = ArrayGrid(ArraySpec(6, 1, dataflow, PES["multiply"]))
    text = emit_shared({"one": grid}, "all")
    (body,) = re.findall(r"^module \\all\.one .*?^endmodule", text, re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^  reg \S+  ?= 1'h0;", body, re.MULTILINE)) == controls * 5
