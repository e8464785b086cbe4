"""Records come one after another, and slots end when both sides are done."""

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.lib import data
from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.plan.timing import FETCH_CYCLES
from hwq.rtl.sequencer import WORD_BITS, Fetcher, Sequencer


def word(address: int) -> int:
    """Content of a memory of words."""
    return (address + 1) * 0x0123456789ABCDEF % (1 << WORD_BITS)


def run(component, *testbenches) -> None:
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench, background=testbench is not testbenches[0])
    simulator.run()


async def until(ctx, signal, most: int = 200) -> int:
    """Wait until a signal is high; return after how many cycles."""
    for cycles in range(most):
        if ctx.get(signal):
            return cycles
        await ctx.tick()
    raise AssertionError(f"{signal!r} is not high after {most} cycles")


@pytest.mark.parametrize("words", [1, 2, 8, 32])
@pytest.mark.parametrize("pause", [0, 3])
def test_a_record_is_there_its_words_and_fetch_cycles_after_the_last_one(words, pause) -> None:
    bits = words * WORD_BITS - 5
    fetcher = Fetcher(data.StructLayout({"low": 3, "rest": bits - 3}), words, 12)
    periods, records = [], []

    async def memory(ctx) -> None:
        while True:
            address = ctx.get(fetcher.fetch.address)
            await ctx.tick()
            ctx.set(fetcher.fetch.word, word(address))

    async def testbench(ctx) -> None:
        for _ in range(5):
            await ctx.tick()
            assert not ctx.get(fetcher.ready)
        asks = fetcher.start
        for _ in range(4):
            ctx.set(asks, 1)
            await ctx.tick()
            ctx.set(asks, 0)
            asks = fetcher.take
            # the cycle in which it was asked for counts
            periods.append(1 + await until(ctx, fetcher.ready))
            for _ in range(pause):
                await ctx.tick()
                assert ctx.get(fetcher.ready)
            records.append(ctx.get(fetcher.record.as_value()))
        # all over again
        ctx.set(fetcher.start, 1)
        await ctx.tick()
        ctx.set(fetcher.start, 0)
        assert 1 + await until(ctx, fetcher.ready) == words + FETCH_CYCLES
        assert ctx.get(fetcher.record.as_value()) == records[0]

    run(fetcher, testbench, memory)
    assert periods == [words + FETCH_CYCLES] * 4
    wanted = [
        sum(word(record * words + k) << WORD_BITS * k for k in range(words)) for record in range(4)
    ]
    assert records == [value % (1 << bits) for value in wanted]


def test_a_record_must_have_room() -> None:
    with pytest.raises(SpecError, match="a record must have at most 128 bits, not 129"):
        Fetcher(data.StructLayout({"all": 129}), 2, 12)


class Around:
    """What is around a sequencer: records, a unit, and a DMA.

    Parameters
    ----------
    slots : list of (int, list of int)
        Cycles for which the unit works in a slot, and those of each of its transfers.
    work_words, transfer_words : int
        Cycles until the next record is there.
    """

    def __init__(self, slots, work_words: int = 1, transfer_words: int = 1) -> None:
        self.unit = Sequencer()
        self._slots = slots
        self._words = work_words, transfer_words
        self.begins: list[int] = []
        self.moves: list[int] = []
        self.end = 0
        self.counted: list[int] = []

    async def testbench(self, ctx) -> None:
        unit, slots = self.unit, self._slots
        transfers = [(k == len(m) - 1, cycles) for _, m in slots for k, cycles in enumerate(m)]
        taken = moved = 0
        # until when what is busy is busy, and records are not there
        works = moves = 0
        work_there, transfer_there = self._words
        await ctx.tick()
        assert not ctx.get(unit.busy)
        ctx.set(unit.start, 1)
        await ctx.tick()
        ctx.set(unit.start, 0)
        for cycle in range(1000):
            # behind the last record there are others, which mean nothing
            ctx.set(unit.work.ready, cycle >= work_there)
            ctx.set(unit.work.moves, bool(slots[taken][1]) if taken < len(slots) else 1)
            ctx.set(unit.work.ends, taken == len(slots) - 1)
            ctx.set(unit.transfer.ready, cycle >= transfer_there)
            ctx.set(unit.transfer.last, transfers[moved][0] if moved < len(transfers) else 0)
            ctx.set(unit.idle, cycle >= works)
            ctx.set(unit.moving, cycle < moves)
            if not ctx.get(unit.busy):
                self.end = cycle
                return
            assert ctx.get(unit.work.take) == ctx.get(unit.begins)
            assert ctx.get(unit.transfer.take) == ctx.get(unit.moves)
            if ctx.get(unit.begins):
                self.begins.append(cycle)
                works, work_there = cycle + slots[taken][0], cycle + self._words[0]
                taken += 1
            if ctx.get(unit.moves):
                self.moves.append(cycle)
                moves, transfer_there = cycle + transfers[moved][1], cycle + self._words[1]
                moved += 1
            await ctx.tick()
            self.counted.append(ctx.get(unit.slot))
        raise AssertionError("it does not end")


# computing, transfers; when each slot begins and ends, when each transfer begins
SLOTS = {
    # the longer side decides
    "computing": ([(9, [3]), (4, [])], (1, 1), [1, 10, 14], [1]),
    "moving": ([(4, [9]), (4, [])], (1, 1), [1, 10, 14], [1]),
    "one by one": ([(5, [3, 4, 6]), (2, [2, 2])], (1, 1), [1, 14, 18], [1, 4, 8, 14, 16]),
    "only transfers": ([(0, [7, 2]), (0, [5])], (1, 1), [1, 10, 15], [1, 8, 10]),
    "nothing at all": ([(0, []), (0, []), (3, [])], (1, 1), [1, 2, 3, 6], []),
    # records come late: those of slots, ...
    "fetch": ([(4, [2]), (15, [])], (10, 1), [10, 20, 35], [10]),
    "last slot": ([(12, []), (3, [1])], (10, 1), [10, 22, 32], [22]),
    # ... and those of transfers, of which a slot waits for its first one
    "next transfer": ([(4, [2, 2, 2]), (4, [])], (1, 5), [5, 17, 21], [5, 10, 15]),
    "first transfer": ([(1, [1, 1]), (2, [1]), (1, [])], (1, 9), [9, 27, 29, 30], [9, 18, 27]),
    "none to wait for": ([(1, [1]), (2, []), (1, [1])], (1, 9), [9, 10, 18, 19], [9, 18]),
}


@pytest.mark.parametrize("name", SLOTS)
def test_a_slot_ends_when_both_sides_are_done(name: str) -> None:
    slots, words, bounds, moves = SLOTS[name]
    around = Around(slots, *words)
    run(around.unit, around.testbench)
    assert around.begins == bounds[:-1]
    assert around.moves == moves
    # what ends is not busy in the next cycle
    assert around.end == bounds[-1] + 1
    assert [around.counted[cycle] for cycle in around.begins] == list(range(1, len(slots) + 1))


def test_it_starts_anew() -> None:
    unit, seen = Sequencer(), []

    async def testbench(ctx) -> None:
        ctx.set(unit.work.ready, 1)
        ctx.set(unit.idle, 1)
        ctx.set(unit.work.ends, 1)
        for _ in range(2):
            ctx.set(unit.start, 1)
            await ctx.tick()
            # while it is busy this is no start
            assert ctx.get(unit.slot) == 0
            for _ in range(3):
                seen.append((ctx.get(unit.busy), ctx.get(unit.begins), ctx.get(unit.slot)))
                ctx.set(unit.start, int(len(seen) % 3 == 1))
                await ctx.tick()

    run(unit, testbench)
    assert seen == [(1, 1, 0), (1, 0, 1), (0, 0, 1)] * 2
