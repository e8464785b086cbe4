"""Closed forms and events give the same cycles, of any program on any machine."""

import random

import pytest

from hwq.cost.estimate import estimate
from hwq.errors import SpecError
from hwq.plan.commands import commands
from hwq.plan.make_plan import make_plan
from hwq.plan.slots import kinds, unroll
from hwq.plan.verify import verify
from hwq.runtime.event_clock import EventClock
from tests.plan.programs import random_machine, random_program

SEEDS = 600


@pytest.mark.parametrize("part", range(6))
def test_closed_form_equals_event_count(part):
    planned = 0
    for seed in range(part, SEEDS, 6):
        rng = random.Random(seed)
        program, machine = random_program(rng), random_machine(rng)
        timing = rng.choice(("rtl", "rtl", "stall_free"))
        try:
            plan = make_plan(program, machine, timing=timing)
        except SpecError as error:  # a row that fits no buffer
            assert " must have " in str(error) and "KiB free for the smallest tile" in str(error)
            continue
        verify(plan)
        clock = EventClock(plan, machine)
        for slot in commands(plan):
            clock.advance(slot)
        cost = estimate(plan, machine)
        assert clock.cycles == cost.totals.cycles, seed
        assert sum(number for _, number in kinds(plan)) == sum(1 for _ in unroll(plan))
        moved = sum(slot.moved_bits for slot in unroll(plan))
        assert moved == cost.totals.dram_bytes * 8
        pes = machine.array.rows * machine.array.columns
        assert cost.totals.cycles * pes >= program.macs
        planned += 1
    assert planned >= 84
