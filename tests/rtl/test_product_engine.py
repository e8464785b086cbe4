"""Products of packed operands of every kind of codes, on one netlist."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from numpy.typing import NDArray

from hwq.arch.systolic import matmul_cycles
from hwq.errors import SpecError
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, PeSpec
from hwq.quantizers.mac_form import MacForm
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.code_decoder import decoder_settings, is_signed
from hwq.rtl.product_engine import ProductEngine
from tests.rtl.packed import Packed, set_fields, set_walk

SIDE, GRANULES, DEPTH = 4, 8, 512
KINDS = {
    "uniform": lambda bits: PeSpec(MULTIPLY, bits),
    "signed": lambda bits: PeSpec(
        MULTIPLY, bits, significand=(*range(1 << bits - 1), *range(-(1 << bits - 1), 0))
    ),
    "twin": lambda bits: PeSpec(
        *(MULTIPLY_SHIFT, bits, 8, 32),
        (*range(0, -(1 << bits - 1), -1), *range(1 << bits - 1)),
        (0,) * (1 << bits - 1) + (3,) * (1 << bits - 1),
    ),
    "log2": lambda bits: MacForm.logarithmic(Log2Spec(16, bits)).element(),
    "log_sqrt2": lambda bits: MacForm.logarithmic(Log2Spec(16, bits, 2, 1)).element(),
}


class Bench(Elaboratable):
    """The engine between its buffers."""

    def __init__(self) -> None:
        self.activation = Buffer(DEPTH, SIDE * GRANULES, SIDE, 8, 2, 2)
        self.weight = Buffer(DEPTH, SIDE * GRANULES, SIDE, 8, 1, 1)
        self.engine = ProductEngine(SIDE, self.activation, self.weight, 256)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.activation, m.submodules.weight = self.activation, self.weight
        m.submodules.engine = self.engine
        wiring.connect(m, self.engine.a_read, self.activation.read[0])
        wiring.connect(m, self.engine.computed_read, self.activation.read[1])
        wiring.connect(m, self.engine.b_read, self.weight.read[0])
        return m


@dataclass
class Case:
    """A product of seeded codes."""

    m: int
    k: int
    n: int
    kind: str
    bits: int
    b_bits: int
    computed: bool = False
    transposed: bool = False
    ones: bool = False
    joined: bool = False

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.m, self.k, self.n, self.bits, self.b_bits])
        self.pe = KINDS[self.kind](self.bits)
        codes = rng.integers(0, 1 << self.bits, (self.m, self.k))
        half = 1 << (self.b_bits - 1)
        # there is room for what a last tile reads beyond K or N
        b = rng.integers(-half, half, (self.k, self.n))
        self.b = Packed(b.T if self.transposed else b, SIDE, GRANULES, self.b_bits)
        self.a = Packed(codes, SIDE, GRANULES, self.bits, base=2048)
        self.wanted = self.pe.tables()[:, codes] @ b
        if self.ones:  # in the first plane
            sums = np.zeros((len(self.wanted), 1, self.n), np.int64)
            sums[0, 0] = b.sum(axis=0)
            self.wanted = np.concatenate([sums, self.wanted], axis=1)
        if self.joined:  # the second plane is what comes from beside the array
            side = rng.integers(-(1 << 31), 1 << 31, (1, *self.wanted.shape[1:]))
            self.wanted = np.concatenate([self.wanted, side])

    @property
    def rows(self) -> int:
        return self.m + self.ones

    def command(self) -> dict:
        """Fields of the engine's command."""
        tiles_k, tiles_n = -(-self.k // SIDE), -(-self.n // SIDE)
        pitch = self.b.pitch
        b_rows = [(SIDE, -pitch), (tiles_k, SIDE * pitch), (tiles_n, self.b_bits)]
        if self.transposed:
            b_rows = [(SIDE, pitch), (tiles_k, self.b_bits), (tiles_n, SIDE * pitch)]
        a_rows = [(self.m, self.a.pitch), (tiles_k, self.bits), (tiles_n, 0)]
        return {
            "a": (self.a.base, a_rows, self.bits, is_signed(self.pe)),
            "b": (0 if self.transposed else (SIDE - 1) * pitch, b_rows, self.b_bits, True),
        }

    def modes(self) -> dict[str, bool]:
        """Plain fields of the engine's command."""
        single = self.pe.planes == 1 and not self.joined
        modes = {"computed": self.computed, "transposed": self.transposed, "ones": self.ones}
        return {**modes, "single": single, "joined": self.joined}

    def side(self) -> list[tuple[int, list[int]]]:
        """Address and sums of each word of the second plane."""
        if not self.joined:
            return []
        tiles = -(-self.n // SIDE)
        side = np.pad(self.wanted[1], ((0, 0), (0, tiles * SIDE - self.n)))
        return [
            (tile * self.rows + row, side[row, tile * SIDE : (tile + 1) * SIDE].tolist())
            for tile in range(tiles)
            for row in range(self.rows)
        ]


async def multiply(ctx, engine: ProductEngine, case: Case) -> NDArray[np.int64]:
    """Give the command, and collect the sums that leave: int64[2, M, N]."""
    extents = engine.core.spec.extents(case.rows, case.k, case.n)
    program = dict(zip(("rows", "columns", "stream"), extents, strict=True))
    program |= {"result_stride": case.rows, "complete": 1}
    set_fields(ctx, engine.command.program, program)
    set_fields(ctx, engine.command.decoder, decoder_settings(case.pe))
    for name, (base, loops, bits, signed) in case.command().items():
        set_walk(ctx, engine.command[name].walk, base, loops)
        ctx.set(engine.command[name].bits, bits)
        ctx.set(engine.command[name].signed, signed)
    for name, flag in case.modes().items():
        ctx.set(engine.command[name], flag)
    ctx.set(engine.start, 1)
    await ctx.tick()
    ctx.set(engine.start, 0)
    ctx.set(engine.command.as_value(), -1)  # it has been taken
    sums = np.zeros((2, case.rows, -(-case.n // SIDE), SIDE), np.int64)
    side = case.side()
    while ctx.get(engine.busy):
        assert ctx.get(engine.cycles) < 10_000
        if ctx.get(engine.o.valid):
            tile, row = divmod(ctx.get(engine.o.address), case.rows)
            word = ctx.get(engine.o.sums)
            sums[:, row, tile] = [[word[c][plane] for c in range(SIDE)] for plane in (0, 1)]
        ctx.set(engine.side.enable, bool(side))
        if side:
            address, word = side.pop(0)
            ctx.set(engine.side.address, address)
            for lane, value in enumerate(word):
                ctx.set(engine.side.sums[lane], value)
        await ctx.tick()
    return sums.reshape(2, case.rows, -1)[:, :, : case.n]


def run(cases: list[Case]) -> list[tuple[NDArray[np.int64], int]]:
    """Sums and cycles of every product, one after another on one machine."""
    bench, results = Bench(), []
    engine = bench.engine

    async def testbench(ctx) -> None:
        for case in cases:
            await case.a.write(ctx, bench.activation.write[0])
            b_buffer = bench.activation if case.computed else bench.weight
            await case.b.write(ctx, b_buffer.write[0])
            sums = await multiply(ctx, engine, case)
            results.append((sums, ctx.get(engine.cycles)))

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return results


def check(cases: list[Case]) -> None:
    for case, (sums, cycles) in zip(cases, run(cases), strict=True):
        wanted = np.zeros_like(sums)
        wanted[: len(case.wanted)] = case.wanted
        np.testing.assert_array_equal(sums, wanted, str(case))
        shape = case.rows, case.n, case.k, SIDE, SIDE, "weight_stationary", "rtl"
        assert cycles == matmul_cycles(*shape) + READ_CYCLES - 1 + SIDE * case.transposed


@pytest.mark.parametrize("kind", KINDS)
def test_one_netlist_runs_codes_of_every_width(kind: str) -> None:
    check([Case(5, 9, 4, kind, bits, b_bits) for bits in range(2, 9) for b_bits in (3, 8)])


@pytest.mark.parametrize("m", [1, 2, 7])
def test_every_shape_takes_the_time_of_its_formula(m: int) -> None:
    shapes = [(k, n) for k in (1, 4, 5, 8) for n in (1, 3, 4, 7)]
    check([Case(m, k, n, "log_sqrt2", 4, 8) for k, n in shapes])


@pytest.mark.parametrize("m", [1, 3, 4, 9])
@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "log_sqrt2"])
def test_b_may_be_computed_and_transposed(kind: str, computed: bool, m: int) -> None:
    shapes = [(k, n) for k in (1, 4, 9) for n in (1, 4, 7)]
    check([Case(m, k, n, kind, 4, 8, computed, True) for k, n in shapes])
    check([Case(m, 9, 7, kind, 4, 8, computed, turned) for turned in (True, False, True)])


@pytest.mark.parametrize("kind", ["uniform", "twin", "log2", "log_sqrt2"])
@pytest.mark.parametrize("m", [1, 5])
def test_a_row_of_ones_goes_ahead_of_every_tile(kind: str, m: int) -> None:
    shapes = [(1, 1), (9, 7), (4, 9)]
    check([Case(m, k, n, kind, 4, 8, False, False, True) for k, n in shapes])
    check([Case(m, 9, 7, kind, 4, 8, True, True, ones) for ones in (True, False, True)])


@pytest.mark.parametrize("kind", ["uniform", "signed"])
@pytest.mark.parametrize("m", [1, 5])
def test_what_is_joined_is_the_second_plane(kind: str, m: int) -> None:
    """Several folds of K, between other products."""
    shapes = [(5, 3), (9, 7), (17, 12)]
    check([Case(m, k, n, kind, 4, 8, ones=ones, joined=True) for k, n in shapes for ones in (0, 1)])
    check([Case(m, 9, 7, "log_sqrt2" if two else kind, 4, 8, joined=not two) for two in (0, 1, 0)])


def test_sums_of_one_plane_have_the_room_of_two() -> None:
    """256 words: 32 rows in 8 tiles of N; of two planes there is room for half."""
    check([Case(32, 5, 8 * SIDE, "uniform", 8, 8), Case(32, 5, 4 * SIDE, "log_sqrt2", 4, 8)])


def test_lanes_must_be_those_of_the_buffers() -> None:
    activation, weight = Bench().activation, Bench().weight
    with pytest.raises(SpecError, match="lanes of activation must be 3, not 4"):
        ProductEngine(3, activation, weight, 64)
