"""Layers of the vector unit from a buffer to a buffer, one after another on one netlist."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import Const, Elaboratable, Module, signed
from amaranth.lib import wiring
from amaranth.sim import Simulator
from numpy.typing import NDArray

from hwq.arch.vector_timing import ENCODER_CYCLES
from hwq.compiler.emit_scales import predictor_words
from hwq.errors import SpecError
from hwq.numerics.add import AddSpec
from hwq.numerics.epilogue import Epilogue, Factor
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.layer_norm import LayerNorm
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.rescale import rescale_bias, rescale_mult
from hwq.numerics.scale_predictor import scale_predictor_reference
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.numerics.uniform import UniformSpec
from hwq.numerics.unit import Workload
from hwq.numerics.units import UNITS
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.catalog.rows import example_layer_norm
from hwq.rtl.encoder import CodeKind, encoder_settings
from hwq.rtl.epilogue import SCALING
from hwq.rtl.layer_norm import LayerNormCore, parameter_memory
from hwq.rtl.parameter_memory import ParameterMemory
from hwq.rtl.predictor_core import predictor_settings
from hwq.rtl.range_core import range_settings
from hwq.rtl.softmax import SoftmaxCore
from hwq.rtl.vector_command import Route
from hwq.rtl.vector_engine import VectorEngine
from tests.rtl.packed import Packed, set_walk
from tests.rtl.test_predictor_core import predictor

LANES, RATIO, MAX_LENGTH = 4, 16, 23
ROOM, BEAT_BITS, WORDS = 88, 32, 64
FIRST, SECOND, RESCALED = 3, 30, 50
"""Words of the parameter memory: the first table, corrections, and what is rescaled."""
NORM = example_layer_norm(19, 12, FixedPoint(16, 8))


@dataclass
class Layer:
    """One layer: its operands, where the results go, and what they must be.

    `tables` are words of the parameter memory that it has, by the address of the first, and
    `stored` those that it leaves; `loops` are those of operands that are not read row by row.
    """

    route: Route
    x: Packed
    out: Packed | None
    latency: int
    settings: dict[str, dict[str, int]]
    y: Packed | None = None
    signed: bool = True
    x_signed: bool = True
    words: int = 0
    command: dict[str, int] = field(default_factory=dict)
    tables: dict[int, list[int]] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)
    loops: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        words = self.words or len(self.x.values) * self.x.words
        return words + self.latency + READ_CYCLES + 2


def packed(values: NDArray, bits: int, base: int) -> Packed:
    return Packed(values.astype(np.int64), LANES, RATIO, bits, base)


def numbers(rows: int, length: int, bits: int, seed: int = 0) -> NDArray:
    half = 1 << (bits - 1)
    rng = np.random.default_rng([rows, length, bits, seed])
    return rng.integers(-half, half, (rows, length))


def move(rows: int, length: int, bits: int, wider: int) -> Layer:
    x = numbers(rows, length, bits)
    return Layer(Route.MOVE, packed(x, bits, 0), packed(x, wider, 2048), 0, {})


def add(rows: int, length: int) -> Layer:
    x, y = numbers(rows, length, 16), numbers(rows, length, 16, 1)
    spec = AddSpec(FixedPoint(16, 12))
    total = spec.compute(x.astype(np.int16), y.astype(np.int16))[0]
    operands = packed(x, 16, 0), packed(total, 16, 4096)
    limits = {"lo": spec.out.min, "hi": spec.out.max}
    return Layer(Route.ADD, *operands, 1, {"limits": limits}, packed(y, 16, 2048))


def encode(spec, bits: int, rows: int, length: int, in_place: bool = False) -> Layer:
    x = numbers(rows, length, 16)
    settings = encoder_settings(spec)
    latency = ENCODER_CYCLES["log2" if settings["kind"] == CodeKind.LOG2 else "uniform"]
    codes = packed(spec.compute(x)[0], bits, 0 if in_place else 4096)
    return Layer(Route.ENCODE, packed(x, 16, 0), codes, latency, {"encoder": settings}, None, False)


def encode_by_table(guard: int, rows: int, length: int) -> Layer:
    """The multiplier is in a table, rescaled; the settings have another one."""
    one, (mult, shift, point) = np.array(1, np.int64), (51234, 22, -3)
    others = {"guard": guard, "factor": Factor(0, "reciprocal")}
    given = Epilogue(0 * one, 0 * one, one, one, 7 * one, -8, 7, **others)
    spec = UniformSpec(mult, shift, point, 4, signed=True)
    layer = encode(spec, 4, rows, length)
    layer.settings = {"encoder": encoder_settings(given)}
    word = {"addend": 12345, "mult": mult, "shift": shift + guard, "zero_point": point}
    layer.tables = {FIRST: [lanes_of([word, {}, {}, {}])]}
    layer.command = {"is_tabled": 1}
    layer.signed = True
    return layer


def softmax(frac: int, rows: int, length: int) -> Layer:
    x, spec = numbers(rows, length, 16) >> 4, SoftmaxSpec(frac)
    out = packed(spec.compute(x.astype(np.int16)), 16, 4096)
    latency = UNITS["softmax"].timing(length, LANES).latency_cycles
    settings = {"softmax": SoftmaxCore(MAX_LENGTH, LANES).settings_of(spec)}
    return Layer(Route.SOFTMAX, packed(x, 16, 0), out, latency, settings, None, False)


def layer_norm(norm: LayerNorm, rows: int) -> Layer:
    spec = norm.spec
    x = numbers(rows, spec.dim, 14)
    out = packed(norm.compute(x.astype(np.int16))[0], 16, 4096)
    latency = UNITS["layer_norm"].timing(spec.dim, LANES).latency_cycles
    core = LayerNormCore(MAX_LENGTH, LANES, signed(17))
    layer = Layer(
        Route.LAYER_NORM, packed(x, 16, 0), out, latency, {"layer_norm": core.settings_of(spec)}
    )
    memory = parameter_memory(norm, LANES)
    rows_of_lanes = [[memory.shape.elem_shape.const(lane) for lane in row] for row in memory.init]
    layer.tables = {FIRST: [joined(row) for row in rows_of_lanes]}
    return layer


def ranges(spec: RangeExtractSpec, pitch_of: int) -> Layer:
    """Ranges of channels that are the first of a longer row."""
    x = numbers(spec.tokens, pitch_of, 16)
    wanted = spec.compute(x[:, : spec.channels].astype(np.int16).copy())
    tokens, words = packed(x, 16, 0), spec.channels // LANES
    out = packed(in_pieces(wanted)[np.newaxis], 16, 8192)
    layer = Layer(Route.RANGES, tokens, out, 3, {"ranges": range_settings(spec)}, None, False)
    layer.words = spec.tokens * words
    layer.command = {"words": out.words, "keep": out.keep}
    layer.loops = {"x": [(spec.tokens, tokens.pitch), (words, 16)]}
    return layer


def predict(kind: str) -> Layer:
    spec, values = predictor(3, 5, 2, 8, kind)
    words = predictor_words(spec)
    x, y = packed(in_pieces(values)[np.newaxis], 16, 0), packed(words[np.newaxis], 16, 2048)
    scales = np.stack(scale_predictor_reference(values, spec)[1:], axis=-1).astype(np.int64)
    unit = UNITS["scale_predictor"]
    timing, items = unit.items(unit.timing, Workload(1, words.size, LANES))
    settings = {"predictor": predictor_settings(spec, LANES)}
    out = packed((scales & 0xFFFF).reshape(1, -1), 16, 8192)
    layer = Layer(Route.PREDICT, x, out, timing.latency_cycles, settings, y, False)
    layer.words = timing.interval_cycles * items
    # the predictor says itself which elements of a word are written
    layer.command = {"words": 1, "keep": 0}
    layer.loops = {"out": [(LANES // 4, 0), *out.loops]}
    return layer


def rescale(kind: str, corrects: bool, count: int) -> Layer:
    """A table times a scale or its reciprocal, and corrections behind it."""
    rng = np.random.default_rng(count)
    words = {
        "addend": rng.integers(-(1 << 40), 1 << 40, count),
        "mult": rng.integers(0, 1 << 16, count),
        "shift": rng.integers(10, 50, count),
        "zero_point": rng.integers(-(1 << 16), 1 << 16, count),
    }
    correction = rng.integers(-(1 << 44), 1 << 44, count)
    scale, reciprocal = (40321, -3), (53251, 2)
    factor = scale if kind == "scale" else reciprocal
    mult, shift = rescale_mult(words["mult"], words["shift"], *factor)
    bias = rescale_bias(words["addend"], *reciprocal) if kind == "scale" else words["addend"]
    wanted = {**words, "mult": mult, "shift": shift, "addend": bias + correction * corrects}
    x = packed(np.array([[*scale, *reciprocal]]) & 0xFFFF, 16, 0)
    settings = {"is_scale": int(kind == "scale"), "corrects": int(corrects)}
    latency = UNITS["rescale"].timing().latency_cycles
    layer = Layer(Route.RESCALE, x, None, latency, {"rescale": settings}, None, False, False)
    layer.words = -(-count // LANES)
    layer.tables = {FIRST: table(words), SECOND: table({"addend": correction})}
    layer.stored = table(wanted)
    keep = (1 << (count - 1) % LANES + 1) - 1
    layer.command = {"words": layer.words, "keep": keep, "second_parameter": SECOND}
    layer.loops = {"x": [(layer.words, 0)], "out": [(layer.words, 1)]}
    return layer


def in_pieces(values: NDArray) -> NDArray:
    """32 bits each -> 16, the lower ones first."""
    return np.stack([values & 0xFFFF, values >> 16], axis=-1).astype(np.int64).ravel()


def joined(lanes: list[Const]) -> int:
    return sum(Const.cast(lane).value << ROOM * k for k, lane in enumerate(lanes))


def lanes_of(words: list[dict[str, int]]) -> int:
    return sum(SCALING.const(word).as_bits() << ROOM * k for k, word in enumerate(words))


def table(words: dict[str, NDArray]) -> list[int]:
    columns = zip(*(values.tolist() for values in words.values()), strict=True)
    rows: list[dict[str, int]] = [dict(zip(words, row, strict=True)) for row in columns]
    rows += [{}] * (-len(rows) % LANES)
    return [lanes_of(rows[k : k + LANES]) for k in range(0, len(rows), LANES)]


class Bench(Elaboratable):
    """The engine between a buffer and a memory of parameters."""

    def __init__(self) -> None:
        self.buffer = Buffer(1024, LANES * RATIO, LANES, 16, 3, 2)
        self.parameters = ParameterMemory(WORDS, LANES * ROOM // BEAT_BITS, BEAT_BITS, LANES)
        self.engine = VectorEngine(self.buffer, MAX_LENGTH, self.parameters)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer, m.submodules.engine = buffer, engine = self.buffer, self.engine
        m.submodules.parameters = parameters = self.parameters
        for tables, read in zip(engine.tables, parameters.read, strict=True):
            wiring.connect(m, tables, read)
        wiring.connect(m, engine.store, parameters.store)
        wiring.connect(m, engine.x_read, buffer.read[0])
        wiring.connect(m, engine.y_read, buffer.read[1])
        wiring.connect(m, engine.write, buffer.write[0])
        return m


def stored_word(ctx, bench: Bench) -> dict[int, int]:
    """What is stored in the parameter memory in this cycle, by address."""
    store = bench.engine.store
    if not ctx.get(store.enable):
        return {}
    kept = sum(((1 << ROOM) - 1 << ROOM * k) * (ctx.get(store.keep) >> k & 1) for k in range(LANES))
    return {ctx.get(store.address): ctx.get(store.data.as_value()) & kept}


async def write_tables(ctx, memory: ParameterMemory, tables: dict[int, list[int]]) -> None:
    """Write words beat by beat."""
    for first, words in tables.items():
        for number, word in enumerate(words):
            for beat in range(memory.beats):
                ctx.set(memory.write.address, first + number << memory.word_shift | beat)
                ctx.set(memory.write.word, word >> BEAT_BITS * beat & (1 << BEAT_BITS) - 1)
                ctx.set(memory.write.enable, 1)
                await ctx.tick()
    ctx.set(memory.write.enable, 0)


async def give(ctx, engine: VectorEngine, layer: Layer) -> None:
    """Give a command, and take it away."""
    command = engine.command
    for name, operand in (("x", layer.x), ("y", layer.y or layer.x), ("out", layer.out)):
        base = RESCALED if operand is None else operand.base
        loops = layer.loops.get(name) or operand.loops
        set_walk(ctx, command[name].walk, base, loops)
        ctx.set(command[name].bits, 16 if operand is None else operand.bits)
        ctx.set(command[name].signed, layer.x_signed)
    ctx.set(command.settings, layer.settings)
    ctx.set(command.split.as_value(), 0)
    plain = {"route": layer.route, "words": layer.x.words, "keep": layer.x.keep, "is_tabled": 0}
    plain |= {"first_parameter": FIRST, "second_parameter": 0}
    for name, value in (plain | layer.command).items():
        ctx.set(command[name], value)
    ctx.set(engine.start, 1)
    await ctx.tick()
    ctx.set(engine.start, 0)
    ctx.set(command.as_value(), -1)


def check(layers: list[Layer], chained: bool = False) -> None:
    """Run layers one after another; `chained` ones read what the one before wrote, at once."""
    bench = Bench()
    engine, buffer = bench.engine, bench.buffer

    async def testbench(ctx) -> None:
        for number, layer in enumerate(layers):
            if not (chained and number):
                # what does not count must stay, whatever was there
                out = layer.out and layer.out.whole
                for operand in filter(None, (out, layer.x, layer.y)):
                    await operand.write(ctx, buffer.write[1])
                await write_tables(ctx, bench.parameters, layer.tables)
            await give(ctx, engine, layer)
            stored = {}
            for _ in range(layer.cycles - 1):
                stored |= stored_word(ctx, bench)
                assert ctx.get(engine.busy), f"{layer.route}: it ends too early"
                await ctx.tick()
            assert not ctx.get(engine.busy), f"{layer.route}: it ends too late"
            assert ctx.get(engine.cycles) == layer.cycles
            assert stored == dict(enumerate(layer.stored, start=RESCALED))
            if layer.out and (not chained or layer is layers[-1]):
                await ctx.tick().repeat(2)
                wanted = layer.out if chained or layer.out.base == layer.x.base else layer.out.whole
                found = await wanted.read(ctx, buffer.read[2], layer.signed)
                np.testing.assert_array_equal(found, wanted.values, str(layer.route))

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_layers_of_every_kind_follow_each_other() -> None:
    check(
        [
            move(3, 7, 5, 9),
            add(2, 9),
            softmax(10, 3, 23),
            encode(UniformSpec(40000, 24, 9, 4), 4, 3, 11),
            layer_norm(NORM, 4),
            encode(ShiftLog2Spec(2783, 50001, 17, 3, 2, 3), 3, 2, 6),
            softmax(4, 5, 2),
            move(1, 1, 16, 16),
            add(4, 4),
        ]
    )


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 22])
def test_rows_of_any_length(length: int) -> None:
    spec = TwinUniformSpec(40000, 22, 3, 6, "gelu")
    layers = [softmax(8, 3, length), encode(spec, 6, 5, length), move(2, length, 11, 12)]
    check([*layers, add(3, length)])


def test_codes_may_take_the_place_of_what_they_are_made_of() -> None:
    spec = UniformSpec(46811, 24, 117)
    check([encode(spec, bits, 4, 13, in_place=True) for bits in (8, 16)])


def test_a_layer_reads_what_the_one_before_wrote() -> None:
    first = softmax(9, 3, 14)
    spec = ShiftLog2Spec(0, 32768, 15, 4, 2)
    second = encode(spec, 4, 3, 14)
    codes = spec.compute(first.out.values)[0]
    second.x, second.out = first.out, packed(codes, 4, 8192)
    second.x_signed = False
    check([first, second], chained=True)


def test_what_is_done_once_for_an_image_follows_each_other() -> None:
    check(
        [
            ranges(RangeExtractSpec(8, 3, 2), 11),
            predict("usual"),
            encode_by_table(12, 3, 11),
            rescale("scale", True, 9),
            predict("wide"),
            rescale("reciprocal", False, 1),
            layer_norm(NORM, 2),
            rescale("scale", False, 4),
            ranges(RangeExtractSpec(4, 1, 2), 4),
            encode_by_table(0, 1, 4),
            rescale("reciprocal", True, 23),
            move(2, 5, 9, 9),
        ]
    )


def test_other_buffers_are_refused() -> None:
    with pytest.raises(SpecError, match="max_bits of buffer must be 16, not 8"):
        VectorEngine(Buffer(64, 64, 4, 8, 2, 1), 8, ParameterMemory(4, 11, 32, 4))
