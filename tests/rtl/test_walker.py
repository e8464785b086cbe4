import itertools

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.rtl.walker import Walker


def addresses(base: int, loops: list[tuple[int, int]], bits: int) -> list[int]:
    """The innermost loop comes first in `loops`, and last here."""
    turns = itertools.product(*(range(count) for count, _ in reversed(loops)))
    strides = [stride for _, stride in reversed(loops)]
    return [(base + sum(map(int.__mul__, turn, strides))) % (1 << bits) for turn in turns]


def walked(walker: Walker, walks, pauses) -> list[list[int]]:
    """Addresses of one walk after another, up to the last; it stays where it is in a pause."""
    seen = []

    async def bench(ctx) -> None:
        for base, loops in walks:
            ctx.set(walker.walk.base, base)
            for k in range(walker.levels):
                count, stride = loops[k] if k < len(loops) else (1, 0)
                ctx.set(walker.walk.loops[k].count, count)
                ctx.set(walker.walk.loops[k].stride, stride % (1 << walker.address_bits))
            ctx.set(walker.load, 1)
            await ctx.tick()
            ctx.set(walker.load, 0)
            # what is loaded is kept
            ctx.set(walker.walk.as_value(), -1)
            seen.append([])
            last = False
            while not last:
                assert len(seen[-1]) < 10_000
                seen[-1].append(ctx.get(walker.address))
                last = bool(ctx.get(walker.last))
                for _ in range(next(pauses)):
                    await ctx.tick()
                    assert ctx.get(walker.address) == seen[-1][-1]
                ctx.set(walker.advance, 1)
                await ctx.tick()
                ctx.set(walker.advance, 0)
            # behind the last comes the first again
            assert ctx.get(walker.address) == seen[-1][0]

    simulator = Simulator(walker)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_addresses_are_those_of_nested_loops(levels: int) -> None:
    rng = np.random.default_rng(levels)
    walks = [
        (
            int(rng.integers(0, 1 << 12)),
            [(int(rng.integers(1, 5)), int(rng.integers(-40, 600))) for _ in range(used)],
        )
        for used in (*range(1, levels + 1), *rng.integers(1, levels + 1, 20).tolist())
    ]
    pauses = iter(rng.integers(0, 2, 100_000).tolist())
    wanted = [addresses(base, loops, 12) for base, loops in walks]
    assert walked(Walker(levels, 12, 4), walks, pauses) == wanted


def test_longest_loop() -> None:
    walks = [(5, [(15, 3), (1, 7), (15, 100)])]
    assert walked(Walker(3, 12, 4), walks, itertools.repeat(0)) == [addresses(*walks[0], 12)]


@pytest.mark.parametrize("levels", [0, 9])
def test_rejects(levels: int) -> None:
    with pytest.raises(SpecError, match=f"levels must be in 1..8, not {levels}"):
        Walker(levels, 8)
