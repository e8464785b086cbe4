"""Codes of tokens that have a scale each, and lists of what is left out of them."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from numpy.typing import NDArray

from hwq.arch.vector_timing import ENCODER_CYCLES
from hwq.errors import SpecError
from hwq.numerics.outlier_list import outlier_list_reference
from hwq.numerics.outlier_split import OutlierSplitSpec
from hwq.numerics.units import UNITS
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.encoder import encoder_settings
from hwq.rtl.outlier_commands import inliers, list_settings, split_fields
from hwq.rtl.parameter_memory import ParameterMemory
from hwq.rtl.token_scale import MULTIPLIER
from hwq.rtl.vector_command import Route
from hwq.rtl.vector_engine import VectorEngine
from tests.rtl.packed import Packed, set_fields, set_walk

RATIO, FIRST, WORDS, ROOM = 16, 3, 16, 88


class Bench(Elaboratable):
    """The engine between a buffer and a memory of multipliers."""

    def __init__(self, lanes: int) -> None:
        self.buffer = Buffer(1024, lanes * RATIO, lanes, 16, 3, 2)
        self.memory = ParameterMemory(WORDS, 2, lanes * ROOM // 2, lanes)
        self.engine = VectorEngine(self.buffer, 32, self.memory)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer, m.submodules.engine = buffer, engine = self.buffer, self.engine
        m.submodules.memory = self.memory
        for read, port in zip(engine.tables, self.memory.read, strict=True):
            wiring.connect(m, read, port)
        wiring.connect(m, engine.x_read, buffer.read[0])
        wiring.connect(m, engine.y_read, buffer.read[1])
        wiring.connect(m, engine.write, buffer.write[0])
        return m


@dataclass
class Case:
    """Tokens, and what becomes of them: codes, or with a room a list."""

    x: NDArray[np.int64]
    spec: OutlierSplitSpec
    room: int = 0

    def result(self) -> NDArray[np.int64]:
        """Rows of codes, or one of the list's elements."""
        if not self.room:
            return self.spec.compute(self.x)[0].astype(np.int64)
        side = self.spec.outliers(self.x)
        count = np.count_nonzero(side)
        entries = outlier_list_reference(side, max(self.room, count))[: self.room]
        return np.pad(entries, ((0, 0), (0, 1))).reshape(1, -1)


async def give(ctx, bench: Bench, case: Case, operands: tuple[Packed, Packed]) -> int:
    """Give a command and take it away; return the cycles that it is to take."""
    engine, lanes, spec = bench.engine, bench.buffer.lanes, case.spec
    command, (x, out) = engine.command, operands
    cycles = len(x.values) * x.words + READ_CYCLES + 2
    cycles += (
        case.room + UNITS["outlier_list"].timing().latency_cycles
        if case.room
        else ENCODER_CYCLES["outlier_split"]
    )
    loops = out.loops
    if case.room:  # entries of a word, words
        loops = [(lanes // 4, 0), (out.words, 16)]
    set_walk(ctx, command.x.walk, x.base, x.loops)
    set_walk(ctx, command.out.walk, out.base, loops)
    for operand, bits in ((command.x, 16), (command.out, out.bits)):
        ctx.set(operand.bits, bits)
        ctx.set(operand.signed, 1)
    values = {
        "route": Route.LIST if case.room else Route.ENCODE,
        "words": x.words,
        "keep": x.keep,
        "first_parameter": FIRST,
        "is_tabled": False,
    }
    for name, value in values.items():
        ctx.set(command[name], value)
    set_fields(ctx, command.split, split_fields(spec, spec.mult.size > 1))
    if case.room:
        settings = list_settings(spec, case.room, len(x.values) * x.words)
        assert settings["last_cycle"] == cycles - 1
        set_fields(ctx, command.settings.list.multiplier, settings.pop("multiplier"))
        for name, value in settings.items():
            ctx.set(command.settings.list[name], value)
    else:
        set_fields(ctx, command.settings.encoder, encoder_settings(inliers(spec)))
    ctx.set(engine.start, 1)
    await ctx.tick()
    ctx.set(engine.start, 0)
    ctx.set(command.as_value(), -1)
    return cycles


async def prepare(ctx, bench: Bench, case: Case) -> None:
    """Write the table of multipliers."""
    lanes, spec, store = bench.buffer.lanes, case.spec, bench.memory.store
    ctx.set(store.enable, 1)
    for token, (mult, shift) in enumerate(zip(spec.mult, spec.shift, strict=True)):
        pair = {"mult": int(mult), "shift": int(shift)}
        lane = token % lanes
        ctx.set(store.address, FIRST + token // lanes)
        ctx.set(store.data[lane], MULTIPLIER.const(pair).as_bits())
        ctx.set(store.keep, 1 << lane)
        await ctx.tick()
    ctx.set(store.enable, 0)


def check(lanes: int, cases: list[Case]) -> None:
    """Run passes one after another on one machine."""
    bench = Bench(lanes)
    engine, buffer = bench.engine, bench.buffer

    async def testbench(ctx) -> None:
        for case in cases:
            x = Packed(case.x, lanes, RATIO, 16)
            bits = 16 if case.room else case.spec.bits
            out = Packed(case.result(), lanes, RATIO, bits, 8192)
            for operand in (x, out.whole):
                blank = Packed(np.full_like(operand.values, 1), lanes, RATIO, bits, out.base)
                await (x if operand is x else blank).write(ctx, buffer.write[1])
            await prepare(ctx, bench, case)
            cycles = await give(ctx, bench, case, (x, out))
            for _ in range(cycles - 1):
                assert ctx.get(engine.busy), "it ends too early"
                await ctx.tick()
            assert not ctx.get(engine.busy), "it ends too late"
            # what reads it next does so a cycle after it starts
            await ctx.tick()
            found = await out.whole.read(ctx, buffer.read[2], bool(case.room))
            wanted = out.whole.values.copy()
            if case.room:  # tokens and channels have no sign
                found &= 0xFFFF
                wanted &= 0xFFFF
            np.testing.assert_array_equal(found, wanted, f"{case.x.shape}, room {case.room}")

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def tokens(count: int, length: int, share: float, seed: int = 0) -> tuple[NDArray, int]:
    """Tokens of which about that share is beyond a threshold; neighbours of it are among them."""
    rng = np.random.default_rng([count, length, seed])
    threshold = 3000
    x = rng.integers(-threshold, threshold + 1, (count, length))
    far = rng.integers(threshold + 1, 1 << 15, x.shape) * rng.choice((-1, 1), x.shape)
    x = np.where(rng.random(x.shape) < share, far, x)
    ends = [threshold, threshold + 1, -threshold, -threshold - 1, 32767, -32768]
    x.flat[:: max(x.size // len(ends), 1)][: len(ends)] = ends[: x.size]
    return x, threshold


def split(count: int, threshold: int, bits: int = 8, seed: int = 0) -> OutlierSplitSpec:
    """A scale for each token, such that some side values saturate."""
    rng = np.random.default_rng([count, bits, seed])
    mult, shift = rng.integers(1 << 15, 1 << 16, count), rng.integers(13, 25, count)
    return OutlierSplitSpec(mult, shift, 3, threshold, bits)


@pytest.mark.parametrize(("lanes", "count"), [(4, 1), (4, 3), (4, 4), (4, 13), (8, 17), (16, 5)])
def test_codes_have_the_scale_of_their_token(lanes: int, count: int) -> None:
    cases = []
    for length in (1, 5, 16, 23):
        x, threshold = tokens(count, length, 0.2)
        cases += [
            Case(x, split(count, threshold, 8)),
            Case(x, split(1, threshold, 4)),
            Case(x, split(count, 1 << 31, 2)),
        ]
    check(lanes, cases)


def room_of(x: NDArray, threshold: int, more: int = 0) -> int:
    return int(np.count_nonzero(np.abs(x) > threshold)) + more


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_a_list_has_all_outliers_in_order(lanes: int) -> None:
    cases = []
    shapes, shares = ((1, 4), (3, 9), (17, 16), (6, 33)), (0.02, 0.3, 0.9)
    for (count, length), (seed, share) in itertools.product(shapes, enumerate(shares)):
        x, threshold = tokens(count, length, share, seed)
        spec = split(count, threshold, 8, seed)
        cases += [Case(x, spec, room_of(x, threshold, more)) for more in (0, 1, 18)]
        cases += [Case(x, split(1, threshold), room_of(x, threshold, 3)), Case(x, spec)]
    check(lanes, cases)


@pytest.mark.parametrize("lanes", [4, 8])
def test_corners_of_a_list(lanes: int) -> None:
    """No outliers, all of a token, first and last element; full lists, and too short ones."""
    spec = split(6, 3000)
    nothing = np.full((6, 10), 3000)
    cases = [Case(nothing, spec, room) for room in (1, 2, 50)]
    for token in (0, 3, 5):
        x = nothing.copy()
        x[token] = -32768
        cases += [Case(x, spec, room) for room in (10, 11, 40)]
    x = nothing.copy()
    x[0, 0], x[-1, -1] = 3001, -3001
    cases += [Case(x, spec, room) for room in (2, 3)]
    everything = np.full((6, 10), 20000)
    cases += [Case(everything, spec, room) for room in (60, 61, 7, 1)]
    # what was too much leaves nothing behind
    check(lanes, [*cases, Case(nothing, spec, 9), Case(x, spec, 4), Case(x, spec)])


def test_lanes_that_no_entry_fits_are_refused() -> None:
    with pytest.raises(SpecError, match="lanes must be a multiple of 4, not 6"):
        Bench(6)
