"""Where blocks are on chip: their rows begin at whole words and whole beats."""

import random

import numpy as np
import pytest

from hwq.errors import SpecError
from hwq.plan.commands import commands
from hwq.plan.layout import Grid
from hwq.plan.make_plan import make_plan
from tests.plan.programs import random_machine, random_program


@pytest.mark.parametrize("part", range(4))
def test_a_transfer_fills_runs_that_begin_at_quanta_and_moves_them_whole(part):
    padded = 0
    for seed in range(part, 120, 4):
        rng = random.Random(seed)
        program, accelerator = random_program(rng), random_machine(rng)
        try:
            plan = make_plan(program, accelerator)
        except SpecError:  # a row fits no buffer
            continue
        grid = Grid.of(accelerator)
        for slot in commands(plan):
            for transfer in slot.transfers:
                sides = transfer.source, transfer.target
                (block,) = (window for window in sides if window.memory != "dram")
                quantum = grid.quantum(block.bits)
                places = np.unique((block.addresses() - block.base) // block.bits)
                begins = places[~np.isin(places - 1, places)]
                assert not (begins % quantum).any()
                quanta = np.unique(places // quantum)
                assert transfer.bits == quanta.size * quantum * block.bits
                padded += transfer.bits > places.size * block.bits
    assert padded
