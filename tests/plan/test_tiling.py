"""The search for tiles, against every tiling walked slot by slot."""

import random
from dataclasses import replace
from itertools import product

import pytest

from hwq.arch.load import load_accelerator
from hwq.errors import SpecError
from hwq.plan.draft import draft_step
from hwq.plan.make_plan import make_plan
from hwq.plan.plan import BUFFERS, Memory
from hwq.plan.residency import place_tensors
from hwq.plan.runs import runs
from hwq.plan.slots import lone_kinds
from hwq.plan.tiling import choose_tiles, copies, stage_bits, sums_bits, tile_extents
from hwq.plan.timing import Timer
from tests.plan.machines import machine
from tests.plan.programs import random_machine, random_program


def memories_of(accelerator):
    sram = accelerator.sram
    buffers = {
        name: Memory(name, getattr(sram, name).size_bits, getattr(sram, name).width_bits)
        for name in BUFFERS
    }
    return buffers | {"dram": Memory("dram", 1 << 62, 512)}


def steps(rng):
    """Yield the uncut steps of a random program: (step, grain, times, alone, machine)."""
    program, accelerator = random_program(rng), random_machine(rng)
    memories = memories_of(accelerator)
    sequence = runs(program)
    residency = place_tensors(program, sequence, memories)[0]
    for run in sequence:
        for members in run.steps:
            step, grain = draft_step(
                members, run.times, "weight_stationary", accelerator.array, residency
            )
            yield step, grain, run.times, len(run.steps) == 1, accelerator


def tilings(step, grain):
    sizes = step.m, step.n, step.k
    extents = [tile_extents(size, cut) for size, cut in zip(sizes, grain, strict=True)]
    for m, n, k in product(*extents):
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


def test_a_batch_takes_the_latency_once_and_rounds_up():
    timer = Timer(machine(4, 4, rate=8.0, latency=5), "rtl")
    assert [timer.transfer_cycles(bits) for bits in (0, 1, 7, 17)] == [0, 6, 6, 8]
