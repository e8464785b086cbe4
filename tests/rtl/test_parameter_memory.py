"""Words written beat by beat, and read whole."""

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.hdl import Value
from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.rtl.parameter_memory import ParameterMemory

BEAT_BITS = 8


def simulated(memory: ParameterMemory, cycles) -> list[list[int]]:
    """Give every port what each cycle has for it, or nothing: it is not enabled then.

    Returns what both reads show after each cycle.
    """
    seen = []
    ports = {"write": memory.write, "store": memory.store}
    ports |= {f"read_{k}": memory.read[k] for k in range(2)}

    async def testbench(ctx) -> None:
        for cycle in cycles:
            for name, port in ports.items():
                ctx.set(port.enable, name in cycle)
                for field, value in cycle.get(name, {}).items():
                    ctx.set(Value.cast(getattr(port, field)), value)
            await ctx.tick()
            seen.append([ctx.get(Value.cast(memory.read[k].data)) for k in range(2)])

    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen


@pytest.mark.parametrize(
    ("depth", "beats", "lanes"), [(2, 2, 4), (5, 3, 8), (8, 4, 2), (3, 11, 8), (4, 6, 16)]
)
def test_words_are_what_was_written_and_stored(depth: int, beats: int, lanes: int) -> None:
    memory = ParameterMemory(depth, beats, BEAT_BITS, lanes)
    assert 1 << memory.word_shift >= beats > 1 << memory.word_shift - 1
    assert 1 << memory.address_bits >= depth << memory.word_shift
    rng = np.random.default_rng(depth)
    bits, of_lane = beats * BEAT_BITS, beats * BEAT_BITS // lanes
    content, cycles, wanted, data = [0] * depth, [], [], [0, 0]

    def put(word: int, mask: int, value: int) -> None:
        content[word] = content[word] & ~mask | value & mask

    for _ in range(60 * depth):
        # also beats that no word has
        word, beat = int(rng.integers(depth)), int(rng.integers(1 << memory.word_shift))
        byte, keep = int(rng.integers(1 << BEAT_BITS)), int(rng.integers(1 << lanes))
        address = word << memory.word_shift | beat
        stored = (word + 1 + int(rng.integers(depth - 1))) % depth
        value = int.from_bytes(rng.bytes(beats), "little")
        ports = {
            "write": {"address": address, "word": byte},
            "store": {"address": stored, "data": value, "keep": keep},
            **{f"read_{k}": {"address": int(rng.integers(depth))} for k in range(2)},
        }
        cycle = {name: port for name, port in ports.items() if rng.integers(4)}
        # what is written in this cycle is not read
        changed = [place for name, place in (("write", word), ("store", stored)) if name in cycle]
        for k in range(2):
            if cycle.get(f"read_{k}", {}).get("address") in changed:
                del cycle[f"read_{k}"]
            elif f"read_{k}" in cycle:
                data[k] = content[cycle[f"read_{k}"]["address"]]
        if "write" in cycle and beat < beats:
            put(word, (1 << BEAT_BITS) - 1 << beat * BEAT_BITS, byte << beat * BEAT_BITS)
        if "store" in cycle:
            lane = (1 << of_lane) - 1
            put(stored, sum(lane << k * of_lane for k in range(lanes) if keep >> k & 1), value)
        cycles.append(cycle)
        # without an enable it stays
        wanted.append(list(data))
    assert all(value < 1 << bits for value in content)
    assert simulated(memory, cycles) == wanted


@pytest.mark.parametrize(
    ("depth", "beats", "lanes", "message"),
    [
        (1, 2, 2, "depth must be at least 2, not 1"),
        (2, 1, 2, "beats must be at least 2, not 1"),
        (2, 2, 3, "16 bits are no 3 lanes"),
    ],
)
def test_rejects(depth: int, beats: int, lanes: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ParameterMemory(depth, beats, BEAT_BITS, lanes)
