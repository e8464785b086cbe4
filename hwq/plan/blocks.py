"""Where on chip the blocks of a step are, and whether it can begin under the step before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from hwq.plan.memory import BUFFERS, Memory, MemoryName
from hwq.plan.plan import Port, Step
from hwq.plan.residency import Place
from hwq.plan.tiling import copies, stage_bits, sums_bits


def place_blocks(
    step: Step,
    times: int,
    alone: bool,
    memories: Mapping[MemoryName, Memory],
    floors: Mapping[MemoryName, int],
    neighbour: Step | None,
) -> Step:
    """Place the blocks and sums of a step, where the step before has none of its own."""
    need: dict[MemoryName, int] = dict.fromkeys(BUFFERS, 0)
    need["output"] = sums_bits(step, memories["output"])
    rooms = {}
    for port in step.ports:
        if port.stage is not None:
            memory = memories[port.stage.memory]
            rooms[port.name] = stage_bits(port, step, memory), copies(port, step, times, alone)
            need[memory.name] += prod(rooms[port.name])
    taken = used(neighbour) if neighbour else []
    at: dict[MemoryName, int] = {}
    for name in BUFFERS:
        memory = memories[name]
        high = memory.top(need[name])
        wanted = Place(name, floors[name], need[name])
        free = not any(wanted.overlaps(place) for place in taken)
        at[name] = floors[name] if free else max(high, floors[name])
    product = step.product
    if product is not None:
        product = replace(product, sums_base=at["output"])
        at["output"] += sums_bits(step, memories["output"])

    def placed(port: Port) -> Port:
        if port.stage is None:
            return port
        bits, count = rooms[port.name]
        first = at[port.stage.memory]
        at[port.stage.memory] += bits * count
        bases = tuple(first + i * bits for i in range(count))
        return replace(port, stage=replace(port.stage, bases=bases, bits=bits))

    inputs, outputs = tuple(map(placed, step.inputs)), tuple(map(placed, step.outputs))
    return replace(step, product=product, inputs=inputs, outputs=outputs)


def used(step: Step) -> list[Place]:
    """Where the blocks and the sums of a step are."""
    places = [
        Place(port.stage.memory, base, port.stage.bits)
        for port in step.ports
        if port.stage
        for base in port.stage.bases
    ]
    if step.product is not None:
        bits = step.product.tile_sums_bits(step.tile_m, step.tile_n)
        places.append(Place("output", step.product.sums_base, bits))
    return places


def drains_into(before: Step, step: Step) -> bool:
    """Whether a step writes where the results of the one before wait to be stored."""
    written = used(step) + [
        Place(port.memory, port.base, (port.view.last + 1) * port.bits)
        for port in step.outputs
        if not port.stage
    ]
    return any(
        Place(port.stage.memory, base, port.stage.bits).overlaps(place)
        for port in before.staged_outputs
        if port.stage
        for base in port.stage.bases
        for place in written
    )


def join_steps(step: Step, previous: Sequence[Step], floors: Mapping[MemoryName, int]) -> Step:
    """Decide what is loaded under the steps that may be before, and whether the step waits."""

    def early(port: Port) -> bool:
        assert port.stage is not None
        halves = [Place(port.stage.memory, base, port.stage.bits) for base in port.stage.bases]
        if any(half.base < floors[half.memory] for half in halves):
            return False
        return all(
            not any(half.overlaps(place) for half in halves for place in used(other))
            and all(out.tensor != port.tensor for out in other.staged_outputs)
            for other in previous
        )

    inputs = tuple(
        replace(port, early=bool(previous) and early(port)) if port.stage else port
        for port in step.inputs
    )
    drains = any(drains_into(other, step) for other in previous)
    waits = not previous or drains or any(port.stage and not port.early for port in inputs)
    return replace(step, inputs=inputs, waits=waits)
