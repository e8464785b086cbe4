"""The search for tiles, against every tiling walked slot by slot."""

import random
from dataclasses import replace
from itertools import product

import pytest

from hwq.arch.load import load_accelerator
from hwq.errors import SpecError
from hwq.plan.draft import draft_step
from hwq.plan.layout import Grid
from hwq.plan.make_plan import make_plan, memories_of
from hwq.plan.memory import BUFFERS
from hwq.plan.residency import place_tensors
from hwq.plan.runs import runs
from hwq.plan.slots import lone_kinds
from hwq.plan.tiling import choose_tiles, copies, stage_bits, sums_bits, tile_choices, tile_extents
from hwq.plan.timing import Timer
from tests.plan.machines import machine
from tests.plan.programs import random_machine, random_program


def steps(rng):
    """Yield the uncut steps of a random program: (step, grain, times, alone, machine)."""
    program, accelerator = random_program(rng), random_machine(rng)
    memories = memories_of(accelerator)
    sequence = runs(program)
    residency = place_tensors(program, sequence, memories, Grid.of(accelerator))[0]
    for run in sequence:
        for members in run.steps:
            step, grain = draft_step(
                members, run.times, "weight_stationary", accelerator.array, residency
            )
            yield step, grain, run.times, len(run.steps) == 1, accelerator


def tilings(step, grain):
    for m, n, k in product(*tile_choices(step, grain)):
        for outer in (True, False):
            yield replace(step, tile_m=m, tile_n=n, tile_k=k, m_outer=outer)


def room(step, times, alone, memories):
    need = dict.fromkeys(BUFFERS, 0)
    need["output"] = sums_bits(step, memories["output"])
    for port in step.ports:
        if port.stage:
            memory = memories[port.stage.memory]
            need[memory.name] += copies(port, step, times, alone) * stage_bits(port, step, memory)
    return need


@pytest.mark.parametrize("seed", range(60))
def test_the_choice_is_the_best_of_all_tilings_walked_slot_by_slot(seed):
    for step, grain, times, alone, accelerator in steps(random.Random(seed)):
        memories, timer = memories_of(accelerator), Timer(accelerator, "rtl")
        rooms = {name: memories[name].bits for name in BUFFERS}
        costs = {}
        for trial in tilings(step, grain):
            need = room(trial, times, alone, memories)
            if all(need[name] <= rooms[name] for name in BUFFERS):
                slots = [*lone_kinds(trial, times, alone)]
                costs[trial] = (
                    sum(n * slot.moved_bits for slot, n in slots),
                    sum(n * timer.slot_cycles(slot) for slot, n in slots),
                )
        if not costs:
            with pytest.raises(SpecError):
                choose_tiles(step, times, alone, grain, memories, rooms, timer)
            continue
        chosen = choose_tiles(step, times, alone, grain, memories, rooms, timer)
        moved, cycles = costs[chosen]
        if alone:  # between other steps, a block comes again, which a lone step does not see
            assert (moved, cycles) == min(costs.values())


def test_tiles_of_a_dimension_are_even():
    assert tile_extents(20, 4) == [20, 12, 8, 4]
    assert tile_extents(3, 8) == [3]


def test_a_buffer_too_small_for_one_tile_is_named():
    program = random_program(random.Random(1))
    edge = load_accelerator("edge_16x16")
    output = edge.sram.output.model_copy(update={"size_kib": 0.01})
    small = edge.model_copy(update={"sram": edge.sram.model_copy(update={"output": output})})
    with pytest.raises(SpecError, match=r"sram\.output must have .* KiB free for the smallest"):
        make_plan(program, small)


def test_a_transfer_takes_its_latency_and_rounds_up():
    accelerator = machine(4, 4, rate=8.0, latency=5)
    plain, rtl = (Timer(accelerator, timing) for timing in ("stall_free", "rtl"))
    assert [plain.transfer_cycles(bits, load=True) for bits in (1, 7, 17)] == [6, 6, 8]
    assert [plain.transfer_cycles(bits, load=False) for bits in (1, 7, 17)] == [1, 1, 3]
    # the DMA's own cycles, and its next command, which takes ten
    assert [rtl.transfer_cycles(bits, load=True) for bits in (1, 17, 170)] == [10, 11, 30]
    assert [rtl.transfer_cycles(bits, load=False) for bits in (1, 31, 33)] == [10, 10, 11]
