"""What an accelerator has stored, beside what its plan and the integer network store there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.program import Program
from hwq.plan.plan import Plan
from hwq.runtime.plan_executor import PlanExecutor
from hwq.sim.accelerator import Trace
from hwq.sim.writes import Writes, piece_bits, tables_by_slot, writes_by_slot

Int = NDArray[np.int64]


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


class Checker:
    """Follows a plan slot by slot beside what was written.

    `elements` that each slot stored, and the first `difference`, are there after `run`.

    Parameters
    ----------
    plan, program : Plan, Program
    trace : Trace
    values : mapping of str to array
        Tensors of the integer network.
    """

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
        """Run the plan on an image, and return its results."""
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
