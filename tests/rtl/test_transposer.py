"""Blocks turned, one after another with and without gaps."""

import numpy as np
import pytest
from amaranth.hdl import signed
from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.rtl.transposer import Transposer


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("gap", [0, 1, 5])
def test_a_word_that_leaves_has_an_element_of_every_word_that_came(size: int, gap: int) -> None:
    blocks = np.random.default_rng(size).integers(-128, 128, (4, size, size))
    unit, left = Transposer(size, signed(8)), {}

    async def testbench(ctx) -> None:
        arrivals = []
        for block in blocks:
            arrivals += [*block, *[None] * gap]
        for cycle, word in enumerate([*arrivals, *[None] * (size + 1)]):
            ctx.set(unit.valid, word is not None)
            for lane in range(size):
                # what comes while nothing is valid must not matter
                ctx.set(unit.word[lane], 99 if word is None else int(word[lane]))
            left[cycle] = [ctx.get(unit.turned[lane]) for lane in range(size)]
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    for number, block in enumerate(blocks):
        first = number * (size + gap) + size
        for k in range(size):
            assert left[first + k] == block[:, size - 1 - k].tolist()


def test_a_block_of_one_word_is_refused() -> None:
    with pytest.raises(SpecError, match="size must be at least 2, not 1"):
        Transposer(1, signed(8))
