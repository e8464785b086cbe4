"""A product from buffers to a buffer: array, epilogue, activation, encoder, residual."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator
from numpy.typing import NDArray

from hwq.arch.systolic import matmul_cycles
from hwq.arch.vector_timing import ENCODER_CYCLES
from hwq.numerics.activation import ActivationSpec
from hwq.numerics.add import AddSpec
from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.uniform import UniformSpec
from hwq.quantizers.mac_form import MacForm
from hwq.rtl.buffer import READ_CYCLES, WRITE_CYCLES, Buffer
from hwq.rtl.code_decoder import decoder_settings, is_signed
from hwq.rtl.encoder import CodeKind, encoder_settings
from hwq.rtl.epilogue import SCALING
from hwq.rtl.join_lane import FACTOR
from hwq.rtl.product_engine import ProductEngine
from hwq.rtl.result_pipe import ResultPipe
from tests.rtl.packed import Packed, set_fields, set_walk

LANES, RATIO, TILES = 4, 16, 8
SIGNED = PeSpec(MULTIPLY, 8, significand=(*range(128), *range(-128, 0)))
UNSIGNED = PeSpec(MULTIPLY, 4)
SQRT2 = MacForm.logarithmic(Log2Spec(16, 4, 2)).element()
LOG2 = MacForm.logarithmic(Log2Spec(16, 4)).element()
RESIDUAL = AddSpec(FixedPoint(16, 12))


class Bench(Elaboratable):
    """The two buffers, what is between them, and a memory of parameters."""

    def __init__(self) -> None:
        self.activation = Buffer(1024, LANES * RATIO, LANES, 16, reads=4, writes=2)
        self.weight = Buffer(256, LANES * RATIO, LANES, 8, reads=1, writes=1)
        self.engine = ProductEngine(LANES, self.activation, self.weight, 128)
        self.pipe = ResultPipe(self.activation, "gelu", TILES)
        shape = data.ArrayLayout(SCALING, LANES)
        self.parameters = Memory(shape=shape, depth=TILES, init=[])
        self.parameter_write = self.parameters.write_port()
        self.factors = Memory(shape=data.ArrayLayout(FACTOR, LANES), depth=TILES, init=[])
        self.factor_write = self.factors.write_port()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules += [self.activation, self.weight, self.engine, self.pipe, self.parameters]
        m.submodules += [self.factors]
        engine, pipe, read = self.engine, self.pipe, self.parameters.read_port()
        factor = self.factors.read_port()
        wiring.connect(m, engine.a_read, self.activation.read[0])
        wiring.connect(m, pipe.y_read, self.activation.read[1])
        wiring.connect(m, pipe.write, self.activation.write[0])
        wiring.connect(m, engine.computed_read, self.activation.read[3])
        wiring.connect(m, engine.b_read, self.weight.read[0])
        m.d.comb += [
            pipe.sums.valid.eq(engine.o.valid),
            pipe.sums.sums.eq(engine.o.sums),
            read.addr.eq(pipe.parameters.address),
            pipe.parameters.data.eq(read.data),
            factor.addr.eq(pipe.factors.address),
            pipe.factors.data.eq(factor.data),
        ]
        return m


@dataclass
class Case:
    """One product of seeded codes, and what is behind it."""

    m: int
    k: int
    n: int
    pe: PeSpec = field(default=SIGNED, repr=False)
    activation: ActivationSpec | None = None
    encoder: object = None
    adds: bool = False
    shared: bool = False
    offset: int = 0
    spread: bool = False
    joined: bool = False

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.m, self.k, self.n])
        codes = rng.integers(0, 1 << self.pe.a_bits, (self.m, self.k))
        b = rng.integers(-128, 128, (self.k, self.n))
        self.a = Packed(codes, LANES, RATIO, self.pe.a_bits)
        self.b = Packed(b, LANES, RATIO, 8)
        residual = rng.integers(-(1 << 15), 1 << 15, (self.m, self.n))
        self.y = Packed(residual, LANES, RATIO, 16, 2048)
        largest = 1 << 14
        self.scaling = {
            "addend": rng.integers(-(1 << 30), 1 << 30, self.n),
            "mult": rng.integers(1 << 15, 1 << 16, self.n),
            "shift": rng.integers(30, 36, self.n),
            "zero_point": rng.integers(-9, 9, self.n),
        }
        if self.shared or self.spread:
            self.scaling = {name: np.repeat(v[:1], self.n) for name, v in self.scaling.items()}
        self.weights = (1 << 12,) if self.pe.planes == 1 else (128, 181)
        if self.joined:
            self.weights = (1,)
            most = (1 << 31) - (self.k << 14) - 1
            tiles = -(-self.n // LANES)
            self.side = rng.integers(-most, most, (self.m, tiles * LANES))
            self.factors = rng.integers(1, 1 << 12, self.m)
            self.factors[-1] = 4095
            # joined sums are 2**12 times as large as others
            self.scaling["shift"] = rng.integers(44, 50, self.n)
        bits = 16 if self.encoder is None else 8
        self.span = (-largest, largest - 1)
        self.out = Packed(self._results(codes, b, residual), LANES, RATIO, bits, 4096)

    def _results(self, codes: NDArray, b: NDArray, residual: NDArray) -> NDArray:
        spec = EpilogueSpec(*self.span, self.weights)
        planes = self.pe.tables()[:, codes] @ b
        if self.joined:
            spec = EpilogueSpec(*self.span, (1,), 46, 45)
            codes_and_rest = planes[0] + self.side[:, : self.n] - self.offset * b.sum(axis=0)
            planes = codes_and_rest[np.newaxis] * self.factors[:, np.newaxis]
        fields = [np.broadcast_to(v, (self.m, self.n)) for v in self.scaling.values()]
        # column sums count as what is added does
        if not self.joined:
            up = self.weights[0].bit_length() - 1
            fields[0] = fields[0] - (self.offset * b.sum(axis=0) << up)
        columns = [*planes, *fields]
        values = spec.compute(np.stack(columns, axis=-1).reshape(-1, len(columns)))[0]
        values = values.astype(np.int64).reshape(self.m, self.n)
        if self.activation is not None:
            values = self.activation.compute(values).astype(np.int64)
        if self.encoder is not None:
            values = self.encoder.compute(values)[0].astype(np.int64)
        if self.adds:
            both = values.astype(np.int16), residual.astype(np.int16)
            values = RESIDUAL.compute(*both)[0].astype(np.int64)
        return values

    @property
    def latency(self) -> int:
        """From a word of sums to where it is written."""
        cycles = 1 + 8 + 6 * (self.activation is not None) + self.adds + 4 * self.joined
        if self.encoder is not None:
            is_log = encoder_settings(self.encoder)["kind"] == CodeKind.LOG2
            cycles += ENCODER_CYCLES["log2" if is_log else "uniform"]
        return cycles

    def product(self) -> tuple[dict, dict, dict]:
        """Fields of the engine's command: program, and both operands."""
        tiles_k, tiles_n = -(-self.k // LANES), -(-self.n // LANES)
        b_rows = [(LANES, -self.b.pitch), (tiles_k, LANES * self.b.pitch), (tiles_n, 8)]
        a_rows = [(self.m, self.a.pitch), (tiles_k, self.a.bits), (tiles_n, 0)]
        stream = self.m + bool(self.offset)
        program = {"rows": self.k, "columns": self.n, "stream": stream, "complete": 1}
        program["result_stride"] = stream
        operands = {
            "a": (0, a_rows, self.a.bits, is_signed(self.pe)),
            "b": ((LANES - 1) * self.b.pitch, b_rows, 8, True),
        }
        return program, operands, decoder_settings(self.pe)

    def results(self) -> dict[str, int]:
        """Plain fields of the pipe's command."""
        return {
            "rows": self.m,
            "tiles": self.out.words,
            "keep": self.out.keep,
            "first_parameter": 1,
            "shared": self.shared,
            "spread": self.spread,
            "ones": bool(self.offset),
            "offset": self.offset,
            "joins": self.joined,
            "first_factor": 2,
            "activates": self.activation is not None,
            "encodes": self.encoder is not None,
            "is_tabled": False,
            "adds": self.adds,
        }


async def prepare(ctx, bench: Bench, case: Case) -> None:
    """Write operands and parameters; what does not count in the results must stay."""
    for operand in (case.a, case.y, case.out.whole):
        await operand.write(ctx, bench.activation.write[1])
    await case.b.write(ctx, bench.weight.write[0])
    port = bench.parameter_write
    for tile in range(case.out.words):
        for lane in range(min(LANES, case.n - tile * LANES)):
            fields = {name: int(v[tile * LANES + lane]) for name, v in case.scaling.items()}
            # what is there must not matter
            if not case.shared and not (case.spread and tile + lane):
                set_fields(ctx, port.data[lane], fields)
        ctx.set(port.addr, 1 + tile)
        ctx.set(port.en, 1)
        await ctx.tick()
    ctx.set(port.en, 0)
    if case.joined:
        port = bench.factor_write
        for row, factor in enumerate(case.factors.tolist()):
            ctx.set(port.data[row % LANES], factor)
            ctx.set(port.addr, 2 + row // LANES)
            ctx.set(port.en, 1)
            await ctx.tick()
        ctx.set(port.en, 0)


async def join(ctx, bench: Bench, case: Case) -> int:
    """Write what outliers add while the product begins; return the cycles that it took."""
    side, rows = bench.engine.side, case.m + bool(case.offset)
    for tile in range(case.out.words):
        for row in range(case.m):
            ctx.set(side.address, tile * rows + bool(case.offset) + row)
            for lane in range(LANES):
                ctx.set(side.sums[lane], int(case.side[row, tile * LANES + lane]))
            ctx.set(side.enable, 1)
            await ctx.tick()
    ctx.set(side.enable, 0)
    return case.out.words * case.m


async def start(ctx, bench: Bench, case: Case) -> None:
    """Give both commands, and take them away."""
    engine, pipe = bench.engine, bench.pipe
    program, operands, decoder = case.product()
    set_fields(ctx, engine.command.program, program)
    set_fields(ctx, engine.command.decoder, decoder)
    modes = {"computed": 0, "transposed": 0, "joined": case.joined}
    modes["single"] = case.pe.planes == 1 and not case.joined
    modes["ones"] = bool(case.offset)
    for name, flag in modes.items():
        ctx.set(engine.command[name], flag)
    for name, (base, loops, bits, signed) in operands.items():
        set_walk(ctx, engine.command[name].walk, base, loops)
        ctx.set(engine.command[name].bits, bits)
        ctx.set(engine.command[name].signed, signed)
    for name, operand in (("y", case.y), ("out", case.out)):
        # rows within tiles of N
        loops = [(case.m, operand.pitch), (operand.words, operand.bits)]
        set_walk(ctx, pipe.command[name].walk, operand.base, loops)
        ctx.set(pipe.command[name].bits, operand.bits)
        ctx.set(pipe.command[name].signed, 1)
    for name, value in case.results().items():
        ctx.set(pipe.command[name], value)
    settings = {
        "scaling": {name: int(v[0]) for name, v in case.scaling.items()} if case.shared else {},
        "epilogue": pipe.epilogues[0].settings_of(case.weights, *case.span),
        "activation": pipe.activations[0].settings_of(case.activation) if case.activation else {},
        "encoder": {} if case.encoder is None else encoder_settings(case.encoder),
        "limits": {"lo": RESIDUAL.out.min, "hi": RESIDUAL.out.max},
    }
    for name, values in settings.items():
        set_fields(ctx, pipe.command[name], values)
    for part in (engine, pipe):
        ctx.set(part.start, 1)
    await ctx.tick()
    for part in (engine, pipe):
        ctx.set(part.start, 0)
        ctx.set(part.command.as_value(), -1)


def check(cases: list[Case]) -> None:
    """Run products one after another on one machine."""
    bench = Bench()

    async def testbench(ctx) -> None:
        for case in cases:
            await prepare(ctx, bench, case)
            await start(ctx, bench, case)
            shape = (
                case.m + bool(case.offset),
                case.n,
                case.k,
                LANES,
                LANES,
                "weight_stationary",
                "rtl",
            )
            array = matmul_cycles(*shape) + READ_CYCLES - 1
            gone = 1 + (await join(ctx, bench, case) if case.joined else 0)
            for _ in range(array + case.latency + WRITE_CYCLES - 2 - gone):
                assert ctx.get(bench.pipe.busy), f"{case}: it ends too early"
                await ctx.tick()
            assert not ctx.get(bench.pipe.busy), f"{case}: it ends too late"
            await ctx.tick().repeat(2)
            whole = case.out.whole
            found = await whole.read(ctx, bench.activation.read[2], case.encoder is None)
            np.testing.assert_array_equal(found, whole.values, str(case))

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_sums_that_nobody_waits_for_go_nowhere() -> None:
    """The array alone: its results are another product's, or nobody's."""
    bench, case = Bench(), Case(3, 5, 6)

    async def testbench(ctx) -> None:
        await prepare(ctx, bench, case)
        await start(ctx, bench, case)
        await ctx.tick().until(~bench.pipe.busy)
        blank = Packed(np.ones_like(case.out.whole.values), LANES, RATIO, 16, case.out.base)
        await blank.write(ctx, bench.activation.write[1])
        set_fields(ctx, bench.engine.command.program, case.product()[0])
        ctx.set(bench.engine.start, 1)
        await ctx.tick()
        ctx.set(bench.engine.start, 0)
        await ctx.tick().until(~bench.engine.busy)
        await ctx.tick().repeat(20)
        found = await blank.read(ctx, bench.activation.read[2], True)
        np.testing.assert_array_equal(found, blank.values)

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


GELU = ActivationSpec("gelu", 10, 16)
CODES = UniformSpec(40000, 22, 30)
LOGS = ShiftLog2Spec(2783, 50001, 19, 4, 2, 3)


@pytest.mark.parametrize("pe", [SIGNED, SQRT2], ids=["signed", "log_sqrt2"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 9, 6), (2, 4, 4), (7, 3, 11)])
def test_products_are_rescaled_and_stored(m: int, k: int, n: int, pe: PeSpec) -> None:
    check([Case(m, k, n, pe), Case(m, k, n, pe, adds=True)])


@pytest.mark.parametrize("offset", [0, 15, -3])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 5, 3), (5, 17, 6), (7, 33, 11), (8, 21, 8)])
def test_outliers_are_joined_and_rows_have_factors(m: int, k: int, n: int, offset: int) -> None:
    joined = Case(m, k, n, UNSIGNED, joined=True, offset=offset)
    coded = Case(m, k, n, UNSIGNED, GELU, LOGS, joined=True, offset=offset)
    check([joined, Case(m, k, n), coded, joined])


def test_what_follows_differs_from_product_to_product() -> None:
    check(
        [
            Case(5, 9, 6, SIGNED, GELU, CODES),
            Case(3, 5, 7, SQRT2, None, LOGS),
            Case(4, 4, 5, SIGNED, GELU, LOGS),
            Case(6, 2, 3, SIGNED, None, CODES),
            Case(3, 4, 9, SIGNED, None, CODES, shared=True),
            Case(3, 6, 9, SIGNED, None, CODES, offset=77),
            Case(3, 5, 10, SIGNED, None, CODES, spread=True),
            Case(1, 6, 9, LOG2, adds=True, offset=-3000),
            Case(3, 4, 9, SIGNED, None, CODES),
            Case(2, 8, 9, SQRT2, adds=True),
            Case(5, 9, 6, SIGNED, ActivationSpec("gelu", 8, 16), CODES),
        ]
    )
