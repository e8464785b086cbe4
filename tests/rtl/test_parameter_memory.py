"""Words written beat by beat, and read whole."""

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.rtl.parameter_memory import ParameterMemory

BEAT_BITS = 8


def simulated(memory: ParameterMemory, writes, reads) -> list[int]:
    """Start a write (address, beat) and a read (word) in each cycle; None: neither is enabled.

    Returns what is there in the cycle after that of each read.
    """
    seen = []

    async def testbench(ctx) -> None:
        for write, read in zip(writes, reads, strict=True):
            address, beat = write or (0, 0xAA)
            ctx.set(memory.write.address, address)
            ctx.set(memory.write.word, beat)
            ctx.set(memory.write.enable, write is not None)
            ctx.set(memory.read.address, read or 0)
            ctx.set(memory.read.enable, read is not None)
            await ctx.tick()
            seen.append(ctx.get(memory.read.data))

    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen


@pytest.mark.parametrize(("depth", "beats"), [(2, 2), (5, 3), (8, 4), (3, 11)])
def test_words_are_their_beats(depth: int, beats: int) -> None:
    memory = ParameterMemory(depth, beats, BEAT_BITS)
    assert 1 << memory.word_shift >= beats > 1 << memory.word_shift - 1
    assert 1 << memory.address_bits >= depth << memory.word_shift
    rng = np.random.default_rng(depth)
    content = np.zeros((depth, beats), np.int64)
    writes, reads, wanted = [], [], []
    data = 0
    for _ in range(60 * depth):
        # also beats that no word has
        word, beat = int(rng.integers(depth)), int(rng.integers(1 << memory.word_shift))
        value = int(rng.integers(1 << BEAT_BITS))
        write = (word << memory.word_shift | beat, value) if rng.integers(4) else None
        read = int(rng.integers(depth)) if rng.integers(3) else None
        # one that is written in this cycle is not read
        if read == word and write is not None:
            read = (read + 1) % depth
        if read is not None:
            data = sum(int(part) << BEAT_BITS * k for k, part in enumerate(content[read]))
        if write is not None and beat < beats:
            content[word, beat] = value
        writes.append(write)
        reads.append(read)
        # without an enable it stays
        wanted.append(data)
    assert simulated(memory, writes, reads) == wanted


@pytest.mark.parametrize(
    ("depth", "beats", "message"),
    [
        (1, 2, "depth must be at least 2, not 1"),
        (2, 1, "beats must be at least 2, not 1"),
    ],
)
def test_rejects(depth: int, beats: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ParameterMemory(depth, beats, BEAT_BITS)
