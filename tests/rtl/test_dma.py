"""Words between a memory, fast or slow, and a buffer."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.rtl.buffer import READ_CYCLES, Buffer, write_word
from hwq.rtl.dma import Dma, Target
from tests.rtl.packed import set_walk

LANES, RATIO, DEPTH, WORDS = 4, 4, 64, 256
Loops = list[tuple[int, int]]


@dataclass
class Transfer:
    """Words from one place to another; addresses of the buffer in words here."""

    store: bool
    memory: tuple[int, Loops]
    buffer: tuple[int, Loops]
    target: Target = Target.ACTIVATION


def places(base: int, loops: Loops) -> list[int]:
    found = [base]
    for count, stride in reversed(loops):
        found = [place + turn * stride for place in found for turn in range(count)]
    return found


class Bench(Elaboratable):
    """The engine and its buffer, and one port more of it."""

    def __init__(self) -> None:
        self.buffer = Buffer(DEPTH, LANES * RATIO, LANES, RATIO, 2, 2)
        self.other = Buffer(DEPTH, LANES * RATIO, LANES, RATIO, 1, 1)
        self.dma = Dma(self.buffer, 8, self.other.address_bits)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer, m.submodules.dma = self.buffer, self.dma
        wiring.connect(m, self.dma.read, self.buffer.read[0])
        m.submodules.other = self.other
        write = self.dma.write
        for target, buffer in ((Target.ACTIVATION, self.buffer), (Target.WEIGHT, self.other)):
            enable = write.enable & (write.target == target)
            write_word(m, buffer.write[0], write.address, write.word, enable)
        return m


class Memory:
    """Answers `latency` cycles after a request; ready with probability `ready`."""

    def __init__(self, latency: int, ready: float) -> None:
        self.latency, self.rng, self.ready = latency, np.random.default_rng(0), ready
        self.words = self.rng.integers(0, 1 << (LANES * RATIO), WORDS).tolist()
        self.answers: list[tuple[int, int]] = []
        self.now = 0

    async def cycle(self, ctx, dma: Dma) -> None:
        """Everything of one cycle."""
        due = bool(self.answers) and self.answers[0][0] <= self.now
        ctx.set(dma.response.valid, due)
        ctx.set(dma.response.payload, self.answers.pop(0)[1] if due else 0xBAD)
        ctx.set(dma.request.ready, bool(self.rng.random() < self.ready))
        if ctx.get(dma.request.valid) and ctx.get(dma.request.ready):
            address = ctx.get(dma.request.p.address)
            if ctx.get(dma.request.p.store):
                self.words[address] = ctx.get(dma.request.p.word)
            else:
                self.answers.append((self.now + self.latency, self.words[address]))
        await ctx.tick()
        self.now += 1


async def transfer(ctx, dma: Dma, memory: Memory, wanted: Transfer) -> int:
    """Give a command, and return its cycles."""
    ctx.set(dma.command.store, wanted.store)
    ctx.set(dma.command.target, wanted.target)
    set_walk(ctx, dma.command.memory, *wanted.memory)
    base, loops = wanted.buffer
    granules = [(count, stride * RATIO) for count, stride in loops]
    set_walk(ctx, dma.command.buffer, base * RATIO, granules)
    ctx.set(dma.start, 1)
    await memory.cycle(ctx, dma)
    ctx.set(dma.start, 0)
    ctx.set(dma.command.as_value(), -1)
    cycles = 1
    while ctx.get(dma.busy):
        assert cycles < 3000
        await memory.cycle(ctx, dma)
        cycles += 1
    return cycles


async def contents(ctx, buffer: Buffer) -> list[int]:
    """Every word of the buffer, by its last port."""
    port, words = buffer.read[buffer.reads - 1], []
    ctx.set(port.bits, RATIO)
    ctx.set(port.enable, 1)
    for word in range(DEPTH):
        ctx.set(port.address, word * RATIO)
        await ctx.tick().repeat(READ_CYCLES)
        words.append(sum(ctx.get(e) << RATIO * k for k, e in enumerate(port.elements)))
    return words


def check(transfers: list[Transfer], latency: int, ready: float) -> list[int]:
    """Run transfers one after the other, compare both sides; return the cycles of each."""
    bench, memory, cycles = Bench(), Memory(latency, ready), []
    expected = list(memory.words)
    on_chip = {Target.ACTIVATION: [0] * DEPTH, Target.WEIGHT: [0] * DEPTH}

    async def testbench(ctx) -> None:
        for wanted in transfers:
            cycles.append(await transfer(ctx, bench.dma, memory, wanted))
            for there, here in zip(places(*wanted.memory), places(*wanted.buffer), strict=True):
                if wanted.store:
                    expected[there] = on_chip[Target.ACTIVATION][here]
                else:
                    on_chip[wanted.target][here] = expected[there]
            assert memory.words == expected
        assert await contents(ctx, bench.buffer) == on_chip[Target.ACTIVATION]
        assert await contents(ctx, bench.other) == on_chip[Target.WEIGHT]

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return cycles


TRANSFERS = [
    Transfer(False, (3, [(40, 1)]), (0, [(40, 1)])),
    Transfer(True, (100, [(5, 1), (4, 10)]), (2, [(20, 1)])),
    # stored words are loaded again at once, each row to another place
    Transfer(False, (100, [(5, 1), (4, 10)]), (63, [(5, -1), (4, -6)])),
    Transfer(False, (7, [(1, 1)]), (1, [(1, 1)])),
    Transfer(False, (30, [(2, 1), (2, 3), (2, 9), (1, 0), (3, 20)]), (9, [(24, 2)]), Target.WEIGHT),
    Transfer(True, (255, [(1, 1)]), (63, [(1, 1)])),
    Transfer(True, (160, [(2, 1), (3, 4), (2, 20)]), (40, [(12, 1)])),
]


@pytest.mark.parametrize(("latency", "ready"), [(1, 1.0), (9, 1.0), (1, 0.4), (23, 0.7)], ids=str)
def test_words_arrive_where_they_belong(latency: int, ready: float) -> None:
    check(TRANSFERS, latency, ready)


@pytest.mark.parametrize("latency", [1, 8])
def test_a_word_a_cycle(latency: int) -> None:
    """Nothing is lost between the first word and the last."""
    load, store = (Transfer(side, (0, [(50, 1)]), (0, [(50, 1)])) for side in (False, True))
    cycles = check([load, store], latency, 1.0)
    assert cycles == [50 + latency + 2, 50 + READ_CYCLES + 3]


def test_a_buffer_must_move_whole_words() -> None:
    with pytest.raises(SpecError, match=r"max_bits of source must be at least 8, .* not 5"):
        Dma(Buffer(8, 32, 4, 5, 1, 1), 8, 5)
