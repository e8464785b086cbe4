"""From a program and an accelerator to a plan: every decision about time and place is made here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from hwq.arch.accelerator import Accelerator
from hwq.arch.kinds import TIMINGS
from hwq.compiler.program import MatmulLayer, Program
from hwq.compiler.view import View
from hwq.errors import SpecError, UsageError
from hwq.numerics.array import DATAFLOWS, Dataflow
from hwq.plan.blocks import join_steps, place_blocks
from hwq.plan.draft import draft_step
from hwq.plan.layout import Grid
from hwq.plan.memory import BUFFERS, Home, Memory, MemoryName
from hwq.plan.plan import Group, Plan, Step
from hwq.plan.residency import RESIDENT_QUARTERS, Residency, place_tensors
from hwq.plan.runs import Members, Run, runs
from hwq.plan.slots import Slot, kinds, lone_kinds
from hwq.plan.tiling import (
    Grain,
    choose_tiles,
)
from hwq.plan.timing import Timer

_BURST_BITS: Final = 512
"""What addresses in DRAM are multiples of."""


def make_plan(
    program: Program,
    accelerator: Accelerator,
    dataflow: str | None = None,
    timing: str | None = None,
) -> Plan:
    """Plan one image.

    Parameters
    ----------
    program : Program
    accelerator : Accelerator
    dataflow : str, optional
        Overrides the array's: one of `hwq.numerics.array.DATAFLOWS`, or "auto" for the fastest of
        each step.
    timing : str, optional
        Overrides the accelerator's: one of `hwq.arch.kinds.TIMINGS`.

    Raises
    ------
    UsageError
        For an unknown dataflow or timing, or a layer that the array cannot execute.
    SpecError
        If a layer's smallest tile does not fit the buffers.
    """
    dataflow = accelerator.array.dataflow if dataflow is None else dataflow
    timing = accelerator.timing if timing is None else timing
    _check_choice("dataflow", dataflow, (*DATAFLOWS, "auto"))
    _check_choice("timing", timing, TIMINGS)
    for layer in program.layers:
        if isinstance(layer, MatmulLayer):
            _check_fits_array(layer, accelerator)
    flows = tuple(flow for flow in DATAFLOWS if dataflow in (flow, "auto"))
    timer = Timer(accelerator, next(t for t in TIMINGS if t == timing))
    memories = memories_of(accelerator)
    sequence = runs(program)
    for quarters in RESIDENT_QUARTERS:
        plans, failures = [], []
        ways = place_tensors(program, sequence, memories, Grid.of(accelerator), quarters)
        for residency in ways:
            try:
                plans.append(_Planner(program, sequence, residency, memories, timer, flows).run())
            except SpecError as error:
                failures.append(error)
        if plans:
            break
    else:
        raise failures[0]
    return min(plans, key=lambda plan: _cost(timer, kinds(plan))) if len(plans) > 1 else plans[0]


def _cost(timer: Timer, slots: Iterable[tuple[Slot, int]]) -> tuple[int, int]:
    """DRAM bits and cycles: what plans are chosen by, in this order."""
    moved = cycles = 0
    for slot, number in slots:
        moved += number * slot.moved_bits
        cycles += number * timer.slot_cycles(slot)
    return moved, cycles


def memories_of(accelerator: Accelerator) -> dict[MemoryName, Memory]:
    """Return the memories of a machine; DRAM has no end."""
    sram, grid = accelerator.sram, Grid.of(accelerator)
    words = {name: getattr(sram, name).width_bits for name in BUFFERS}
    words["parameter"] = grid.lanes * grid.parameter_bits
    memories: dict[MemoryName, Memory] = {
        name: Memory(name, getattr(sram, name).size_bits, words[name]) for name in BUFFERS
    }
    memories["dram"] = Memory("dram", 1 << 62, _BURST_BITS)
    return memories


class _Planner:
    def __init__(
        self,
        program: Program,
        sequence: Sequence[Run],
        residency: Residency,
        memories: Mapping[MemoryName, Memory],
        timer: Timer,
        dataflows: Sequence[Dataflow],
    ) -> None:
        self._program, self._runs, self._residency = program, sequence, residency
        self._memories, self._timer, self._dataflows = memories, timer, dataflows
        self._accelerator = timer.accelerator
        self._constants_end = max(
            (p.end for p in residency.places.values() if p.memory == "weight"), default=0
        )
        self._chosen: dict[object, Step] = {}

    def run(self) -> Plan:
        groups: list[Group] = []
        before: Step | None = None
        floors_before: dict[MemoryName, int] = dict.fromkeys(BUFFERS, 0)
        for run, live in zip(self._runs, self._residency.live, strict=True):
            floors: dict[MemoryName, int] = dict.fromkeys(BUFFERS, 0)
            floors["weight"] = self._constants_end
            for place in live:
                floors[place.memory] = max(floors[place.memory], place.end)
            group = self._group(run, floors, before, floors_before)
            groups.append(group)
            before, floors_before = group.steps[-1], floors
        dram = max(
            (p.end for p in self._residency.places.values() if p.memory == "dram"), default=0
        )
        memories = (Memory("dram", dram, _BURST_BITS), *(self._memories[n] for n in BUFFERS))
        flow = self._dataflows[0] if len(self._dataflows) == 1 else "auto"
        lanes = self._residency.grid.lanes
        plan = self._program.name, self._accelerator.name, flow, self._timer.timing, lanes
        return Plan(*plan, memories, tuple(self._homes()), tuple(groups))

    def _homes(self) -> list[Home]:
        """Where constants, the image and results are."""
        written = {layer.out.tensor: layer.out for layer in self._program.layers}
        read = {o.tensor: o for layer in self._program.layers for o in layer.inputs}
        outside = {name: o for name, o in read.items() if name not in written}
        outside |= {name: o for name, o in written.items() if name not in read}
        places = self._residency.places
        return [
            Home(
                name,
                places[name].memory,
                places[name].base,
                self._residency.grid.width(o),
                self._residency.layouts[name].view(View.contiguous((o.size,))),
            )
            for name, o in outside.items()
        ]

    def _group(
        self,
        run: Run,
        floors: Mapping[MemoryName, int],
        before: Step | None,
        floors_before: Mapping[MemoryName, int],
    ) -> Group:
        """Lay out the steps of a run; `floors` is where the tensors that live on chip end."""
        alone = len(run.steps) == 1
        steps: list[Step] = []
        for members in run.steps:
            step = self._step(members, run.times, alone, floors)
            neighbour = steps[-1] if steps else before
            steps.append(place_blocks(step, run.times, alone, self._memories, floors, neighbour))
        result = []
        for number, step in enumerate(steps):
            previous = [steps[number - 1]] if number else [before] if before else []
            if number == 0 and run.times > 1 and not alone:  # the run begins anew
                previous.append(steps[-1])
            low = {name: max(floors[name], floors_before[name]) for name in floors}
            result.append(join_steps(step, previous, floors if number else low))
        return Group(run.times, tuple(result))

    def _step(
        self, members: Members, times: int, alone: bool, floors: Mapping[MemoryName, int]
    ) -> Step:
        """Choose tiles, and of several dataflows the fastest; equal steps are chosen for once."""
        rooms = {name: self._memories[name].bits - floors[name] for name in BUFFERS}
        array = self._accelerator.array
        best: tuple[int, int, Step] | None = None
        for flow in self._dataflows if isinstance(members[0], MatmulLayer) else (None,):
            step, grain = draft_step(members, times, flow, array, self._residency)
            key = _likeness(step, times, alone, rooms)
            if key not in self._chosen:
                try:
                    self._chosen[key] = self._choose(step, times, alone, grain, rooms)
                except SpecError as error:
                    raise SpecError(f"{members[0].name}: {error}") from error
            tiles = self._chosen[key]
            trial = replace(
                step,
                tile_m=tiles.tile_m,
                tile_n=tiles.tile_n,
                tile_k=tiles.tile_k,
                m_outer=tiles.m_outer,
            )
            if len(self._dataflows) == 1 or flow is None:
                return trial
            moved, cycles = _cost(self._timer, lone_kinds(trial, times, alone))
            if best is None or (cycles, moved) < best[:2]:
                best = cycles, moved, trial
        assert best is not None
        return best[2]

    def _choose(
        self, step: Step, times: int, alone: bool, grain: Grain, rooms: Mapping[MemoryName, int]
    ) -> Step:
        """Search; SCALE-Sim never cuts the streamed dimension: no more than must be."""
        if self._timer.timing == "scalesim" and step.product is not None:
            stream = {"output_stationary": "k", "weight_stationary": "m", "input_stationary": "n"}
            name = stream[step.product.dataflow]
            whole = grain._replace(**{name: getattr(step, name)})
            try:
                return choose_tiles(step, times, alone, whole, self._memories, rooms, self._timer)
            except SpecError:
                pass
        return choose_tiles(step, times, alone, grain, self._memories, rooms, self._timer)


def _likeness(step: Step, times: int, alone: bool, rooms: Mapping[MemoryName, int]) -> object:
    """Return what decides the tiles of a step, the same for steps that are alike."""
    product = step.product
    return (
        times,
        alone,
        (step.m, step.n, step.k),
        product and (product.dataflow, product.sum_bits, product.column_sums),
        tuple((p.unit, p.op, p.rows, p.length, p.results) for p in step.passes),
        tuple(
            (port.bits, port.view.shape, port.moves, port.row, port.along, port.stage.memory)
            for port in step.ports
            if port.stage
        ),
        tuple(
            rooms[name]
            for name in BUFFERS
            if name == "output" or any(p.stage and p.stage.memory == name for p in step.ports)
        ),
        len(step.staged_outputs),
    )


def _check_choice(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{what} must be one of {', '.join(known)}, not {value!r}")


def _check_fits_array(layer: MatmulLayer, accelerator: Accelerator) -> None:
    array, name = accelerator.array, accelerator.name
    if layer.pe.kind.name not in array.pe:
        raise UsageError(
            f"{layer.name}: needs a PE of kind {layer.pe.kind.name!r}; accelerator {name!r} has "
            f"{', '.join(array.pe)}"
        )
    for field, needed, given in (
        ("activation_bits", layer.a.bits, array.activation_bits),
        ("weight_bits", layer.b.bits, array.weight_bits),
        ("acc_bits", layer.acc_bits, array.acc_bits),
    ):
        if needed > given:
            raise UsageError(
                f"{layer.name}: needs {field} of {needed}; the array of accelerator {name!r} has "
                f"{given}"
            )
