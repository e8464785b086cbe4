"""A network on its accelerator's gateware against the integer network: every word, every cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.arch.accelerator import Accelerator
from hwq.compiler.program import Program
from hwq.plan.commands import home_addresses
from hwq.plan.plan import Plan
from hwq.plan.slots import Slot, unroll
from hwq.plan.timing import Timer
from hwq.runtime.plan_executor import PlanExecutor
from hwq.sim.accelerator import Dram, Trace
from hwq.sim.writes import Writes, piece_bits, tables_by_slot, writes_by_slot

Int = NDArray[np.int64]


@dataclass(frozen=True)
class StepRun:
    """One step of a plan as it ran.

    Parameters
    ----------
    name : str
        Of its first layer.
    slots, planned, counted : int
        Slots; cycles as the cost model has them, and as the gateware took.
    elements : int
        That were written and compared.
    stalls : int
        Cycles in which nothing computed.
    """

    name: str
    slots: int
    planned: int
    counted: int
    elements: int
    stalls: int


@dataclass(frozen=True)
class Difference:
    """The first word that is not what the integer network has there.

    Parameters
    ----------
    layer : str
    row, column : int
        Of the layer's output; -1 where something was written that should not be.
    cycle : int
        In which it was written; -1 if it never was.
    wanted, found : int or None
        Bits.
    """

    layer: str
    row: int
    column: int
    cycle: int
    wanted: int | None
    found: int | None

    def __str__(self) -> str:
        if self.wanted is None:
            return f"{self.layer}, cycle {self.cycle}: nothing more must be written here"
        place = f"{self.layer}: row {self.row}, column {self.column}"
        if self.found is None:
            return f"{place}: must be {self.wanted}, and was not written"
        return f"{place}, cycle {self.cycle}: must be {self.wanted}, not {self.found}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of a run.

    Parameters
    ----------
    steps : tuple of StepRun
    difference : Difference, optional
    results : mapping of str to array
        Results of the network, as the DRAM has them at the end.
    results_equal : bool
        Also if the run did not come so far.
    compares_cycles : bool
        Whether cycles count.
    """

    steps: tuple[StepRun, ...]
    difference: Difference | None
    results: Mapping[str, Int]
    results_equal: bool
    compares_cycles: bool

    @property
    def planned(self) -> int:
        """Cycles as the cost model has them."""
        return sum(step.planned for step in self.steps)

    @property
    def counted(self) -> int:
        """Cycles that the gateware took."""
        return sum(step.counted for step in self.steps)

    @property
    def passed(self) -> bool:
        """Whether every word and every cycle is as it must be."""
        cycles = all(step.planned == step.counted for step in self.steps)
        same = self.difference is None and self.results_equal
        return same and (cycles or not self.compares_cycles)


def compare(
    plan: Plan,
    program: Program,
    pixels: NDArray[np.uint8],
    trace: Trace,
    timer: Timer,
    values: Mapping[str, NDArray[Any]],
    cycles: bool = True,
) -> Comparison:
    """Compare a run of all slots, or of the first ones, with what the plan means.

    Parameters
    ----------
    plan, program : Plan, Program
    pixels : uint8[C, H, W]
    trace : Trace
    timer : Timer
        Of the accelerator and the bandwidth of the run.
    values : mapping of str to array
        Tensors of the integer network.
    cycles : bool
        Whether cycles are compared.
    """
    checker = _Checker(plan, program, trace, values)
    results = checker.run(pixels)
    steps = _steps(plan, trace, timer, checker.elements)
    found = {
        home.tensor: trace.dram.read(home_addresses(home), home.bits, signed=True)
        for home in plan.homes
        if home.tensor in results
    }
    mask = {home.tensor: (1 << home.bits) - 1 for home in plan.homes}
    equal = all(
        np.array_equal(found[name] & mask[name], values[name].ravel().astype(np.int64) & mask[name])
        for name in results
    )
    whole = len(trace.begins) - 1 == sum(1 for _ in unroll(plan))
    return Comparison(tuple(steps), checker.difference, found, equal or not whole, cycles)


class _Checker:
    """Follows a plan slot by slot beside what was written."""

    def __init__(
        self, plan: Plan, program: Program, trace: Trace, values: Mapping[str, NDArray[Any]]
    ) -> None:
        self._executor, self._values = PlanExecutor(plan, program), values
        # slots are counted from 1 as they begin
        first = 1 + trace.before
        self._writes = {
            memory: {slot - first: written for slot, written in slots}
            for memory, slots in (
                ("activation", writes_by_slot(trace.log, plan.lanes)),
                ("parameter", tables_by_slot(trace.tables, plan.lanes)),
            )
        }
        self._first, self._slots = int(trace.begins[0]), len(trace.begins) - 1
        self.elements: dict[int, int] = {}
        self.difference: Difference | None = None

    def run(self, pixels: NDArray[np.uint8]) -> Mapping[str, Int]:
        results = self._executor.run(pixels, watch=self._stored)
        surplus = [slots[slot] for slots in self._writes.values() for slot in sorted(slots)]
        if surplus and self.difference is None:
            cycle = int(surplus[0].cycles[0]) - self._first
            self.difference = Difference("what stores nothing", -1, -1, cycle, None, 0)
        return results

    def _stored(self, slot: int, layer: Any, command: Any, stored: Any) -> None:
        if slot >= self._slots:
            return
        window = command.writes
        places = window.addresses()
        self.elements[slot] = places.size
        writes = self._writes[window.memory].pop(slot, None)
        if self.difference is not None:
            return
        self.difference = _of_plan(layer, command, self._values.get(layer.out.tensor), stored)
        if self.difference is not None:
            return
        bits = piece_bits(window.bits)
        pieces = places.reshape(-1, 1) + np.arange(0, window.bits, bits)
        order = np.argsort(pieces.ravel(), kind="stable")
        expected = pieces.ravel()[order]
        codes = self._executor.memories[window.memory].read(expected, bits, signed=False)
        where, what, when = _flat(writes) if writes else (np.zeros(0, np.int64),) * 3
        if np.array_equal(where, expected) and np.array_equal(what, codes):
            return
        self.difference = self._first_difference(
            layer.name,
            command.origin,
            places.shape[-1],
            order // pieces.shape[1],
            (expected, codes),
            (where, what, when),
        )

    def _first_difference(
        self,
        name: str,
        origin: tuple[int, int],
        columns: int,
        order: Int,
        wanted: tuple[Int, Int],
        found: tuple[Int, Int, Int],
    ) -> Difference:
        """Return the earliest of all words that differ."""
        there: dict[int, tuple[int, int]] = {}
        surplus = []
        for address, value, cycle in zip(*(part.tolist() for part in found), strict=True):
            if address in there:
                surplus.append((value, cycle))
            else:
                there[address] = value, cycle
        differences = []
        for place, address, code in zip(order.tolist(), *(w.tolist() for w in wanted), strict=True):
            value, cycle = there.pop(address, (None, -1))
            if value != code:
                row, column = divmod(place, columns)
                differences.append(
                    Difference(
                        name,
                        origin[0] + row,
                        origin[1] + column,
                        cycle - self._first if value is not None else -1,
                        code,
                        value,
                    )
                )
        differences += [
            Difference(name, -1, -1, cycle - self._first, None, value)
            for value, cycle in (*there.values(), *surplus)
        ]
        return min(differences, key=lambda d: (d.cycle < 0, d.cycle, d.row, d.column))


def _of_plan(
    layer: Any, command: Any, tensor: NDArray[Any] | None, stored: Any
) -> Difference | None:
    """Return where a plan stores something else than the integer network has there.

    Tables and lists, which the network has not, are the plan's own.
    """
    words = isinstance(stored, Mapping)
    found = np.stack(list(stored.values()), axis=-1) if words else np.asarray(stored)[..., None]
    if tensor is None or tensor.size != layer.out.size * found.shape[-1]:
        return None
    view = layer.out.view
    places = np.full((), view.offset)
    for axis, size in enumerate(view.shape):
        places = places[..., np.newaxis] + view.places(axis, 0, size)
    whole = tensor.reshape(-1, found.shape[-1])[places].astype(np.int64)
    row, column = (0, 0) if layer.out.along == ("all",) else command.origin
    part = found.reshape(-1, *found.shape[-2:])
    rows, columns, _ = part.shape
    whole = whole.reshape(-1, *whole.shape[-2:])
    wanted = whole[row : row + rows, column : column + columns]
    wrong = np.argwhere(wanted != part)
    if not len(wrong):
        return None
    at = tuple(wrong[0])
    place = row + int(at[0]), column + int(at[1])
    return Difference(layer.name, *place, -1, int(wanted[at]), int(part[at]))


def _flat(writes: Writes) -> tuple[Int, Int, Int]:
    """Return address, bits and cycle of every element, by address."""
    kept = writes.keep
    addresses, values = writes.addresses[kept], writes.values[kept]
    cycles = np.broadcast_to(writes.cycles[:, np.newaxis], kept.shape)[kept]
    order = np.argsort(addresses, kind="stable")
    return addresses[order], values[order], cycles[order]


def _steps(
    plan: Plan, trace: Trace, timer: Timer, elements: Mapping[int, int]
) -> Sequence[StepRun]:
    """Sum slots up, step by step."""
    sums: dict[str, list[int]] = {}
    counted = np.diff(trace.begins).tolist()
    for number, (slot, took) in enumerate(zip(unroll(plan), counted, strict=False)):
        row = sums.setdefault(slot.owner.name, [0] * 5)
        planned, busy = timer.slot_cycles(slot), _computing(timer, slot)
        for index, value in enumerate(
            (1, planned, took, elements.get(number, 0), max(0, took - busy))
        ):
            row[index] += value
    return [StepRun(name, *row) for name, row in sums.items()]


def _computing(timer: Timer, slot: Slot) -> int:
    return 0 if slot.tile is None else timer.work(slot.tile).cycles


def dram_of(machine: Accelerator, stalls: bool = False) -> Dram:
    """Return the DRAM of a machine as its bench has it."""
    timer = Timer(machine, "rtl")
    return Dram(timer.rate, machine.dram.latency_cycles, stalls)
