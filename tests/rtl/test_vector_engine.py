"""Layers of the vector unit from a buffer to a buffer, one after another on one netlist."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.numerics.add import AddSpec
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.layer_norm import LayerNorm
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.numerics.uniform import UniformSpec
from hwq.numerics.units import UNITS
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.catalog.rows import example_layer_norm
from hwq.rtl.encoder import CodeKind, Encoder, encoder_settings
from hwq.rtl.layer_norm import parameter_memory
from hwq.rtl.vector_engine import Route, VectorEngine
from tests.rtl.packed import Packed, set_fields, set_walk

LANES, RATIO, MAX_LENGTH = 4, 16, 23
FIRST = 3
"""Word of the first gamma and beta."""
NORM = example_layer_norm(19, 12, FixedPoint(16, 8))


@dataclass
class Layer:
    """One layer: its operands, where the results go, and what they must be."""

    route: Route
    x: Packed
    out: Packed
    latency: int
    specs: dict[str, object]
    y: Packed | None = None
    signed: bool = True
    x_signed: bool = True

    @property
    def cycles(self) -> int:
        return len(self.x.values) * self.x.words + self.latency + READ_CYCLES + 2


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
    x, y, spec = (
        numbers(rows, length, 16),
        numbers(rows, length, 16, 1),
        AddSpec(FixedPoint(16, 12)),
    )
    total = spec.compute(x.astype(np.int16), y.astype(np.int16))[0]
    operands = packed(x, 16, 0), packed(total, 16, 4096)
    return Layer(Route.ADD, *operands, 1, {"limits": spec.out}, packed(y, 16, 2048))


def encode(spec, bits: int, rows: int, length: int, in_place: bool = False) -> Layer:
    x = numbers(rows, length, 16)
    settings = encoder_settings(spec)
    latency = Encoder().latency_cycles if settings["kind"] == CodeKind.LOG2 else 4
    codes = packed(spec.compute(x)[0], bits, 0 if in_place else 4096)
    return Layer(Route.ENCODE, packed(x, 16, 0), codes, latency, {"encoder": spec}, None, False)


def softmax(frac: int, rows: int, length: int) -> Layer:
    x, spec = numbers(rows, length, 16) >> 4, SoftmaxSpec(frac)
    out = packed(spec.compute(x.astype(np.int16)), 16, 4096)
    latency = UNITS["softmax"].timing(length, LANES).latency_cycles
    return Layer(Route.SOFTMAX, packed(x, 16, 0), out, latency, {"softmax": spec}, None, False)


def layer_norm(norm: LayerNorm, rows: int) -> Layer:
    spec = norm.spec
    x = numbers(rows, spec.dim, 14)
    out = packed(norm.compute(x.astype(np.int16))[0], 16, 4096)
    latency = UNITS["layer_norm"].timing(spec.dim, LANES).latency_cycles
    return Layer(Route.LAYER_NORM, packed(x, 16, 0), out, latency, {"layer_norm": spec})


class Bench(Elaboratable):
    """The engine between a buffer and a memory of parameters."""

    def __init__(self) -> None:
        self.buffer = Buffer(1024, LANES * RATIO, LANES, 16, 3, 2)
        norm = parameter_memory(NORM, LANES)
        self.parameters = Memory(
            shape=norm.shape, depth=norm.depth + FIRST, init=[*[{}] * FIRST, *norm.init]
        )
        self.engine = VectorEngine(self.buffer, MAX_LENGTH, self.parameters.depth)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer, m.submodules.engine = buffer, engine = self.buffer, self.engine
        m.submodules.parameters = self.parameters
        read = self.parameters.read_port()
        m.d.comb += [
            read.addr.eq(engine.parameters.address),
            read.en.eq(engine.parameters.enable),
            engine.parameters.data.eq(read.data),
        ]
        wiring.connect(m, engine.x_read, buffer.read[0])
        wiring.connect(m, engine.y_read, buffer.read[1])
        wiring.connect(m, engine.write, buffer.write[0])
        return m


async def give(ctx, engine: VectorEngine, layer: Layer) -> None:
    """Give a command, and take it away."""
    command = engine.command
    for name, operand in (("x", layer.x), ("y", layer.y or layer.x), ("out", layer.out)):
        set_walk(ctx, command[name].walk, operand.base, operand.loops)
        ctx.set(command[name].bits, operand.bits)
        ctx.set(command[name].signed, layer.x_signed)
    settings_of = {
        "limits": lambda form: {"lo": form.min, "hi": form.max},
        "encoder": encoder_settings,
        "softmax": engine.softmax.settings_of,
        "layer_norm": engine.norm.settings_of,
    }
    for name, of in settings_of.items():
        set_fields(ctx, command[name], of(layer.specs[name]) if name in layer.specs else {})
    plain = {"route": layer.route, "words": layer.x.words, "keep": layer.x.keep}
    plain["first_parameter"] = FIRST
    for name, value in plain.items():
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
                for operand in filter(None, (layer.out.whole, layer.x, layer.y)):
                    await operand.write(ctx, buffer.write[1])
            await give(ctx, engine, layer)
            for _ in range(layer.cycles - 1):
                assert ctx.get(engine.busy), f"{layer.route}: it ends too early"
                await ctx.tick()
            assert not ctx.get(engine.busy), f"{layer.route}: it ends too late"
            assert ctx.get(engine.cycles) == layer.cycles
            if not chained or layer is layers[-1]:
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


def test_other_buffers_are_refused() -> None:
    with pytest.raises(SpecError, match="max_bits of buffer must be 16, not 8"):
        VectorEngine(Buffer(64, 64, 4, 8, 2, 1), 8, 8)
