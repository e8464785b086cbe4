"""Where the tensors of a program live, from the step that writes them to the last that reads them.

* A tensor that only the passes behind its producer read is *streamed*: never stored.
* Any other activation that fits beside those already there lives in the activation buffer, a
  table that is rescaled for an image in the parameter memory. A quarter of either is kept for
  blocks of what comes from DRAM and goes there, or more if need be.
* A pass works row by row, so its results may take the place of an operand that dies there.
* Of what only the steps of one group write and read, one instance is stored, not all.
* What nobody reads is a result of the program and goes to DRAM.
* Operands b that are constant live in the weight buffer only if all of them fit there together;
  it is filled before the first image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hwq.compiler.operand import Operand
from hwq.compiler.program import Layer, MatmulLayer, Program, VectorLayer
from hwq.compiler.view import View
from hwq.errors import SpecError
from hwq.plan.layout import Dimension, Grid, Layout, stored_order, whole
from hwq.plan.memory import Memory, MemoryName
from hwq.plan.runs import Members, Run, streamed

RESIDENT_QUARTERS: Final = (3, 2, 1, 0)
"""Shares of a buffer for tensors that stay there, as they are tried."""


@dataclass(frozen=True, slots=True)
class Place:
    """Memory and first bit of a tensor; of a `scratch` one, only one instance is there."""

    memory: MemoryName
    base: int
    bits: int
    scratch: bool = False

    @property
    def end(self) -> int:
        """The first bit behind it."""
        return self.base + self.bits

    def overlaps(self, other: "Place") -> bool:
        """Whether they have a bit in common."""
        same = self.memory == other.memory
        return same and self.base < other.end and other.base < self.end


@dataclass(frozen=True)
class Residency:
    """Where everything lives.

    Parameters
    ----------
    streamed : frozenset of str
        Tensors that are never stored.
    places : mapping of str to Place
        Of all other tensors.
    layouts : mapping of str to Layout
        How they lie there.
    live : tuple of tuple of Place
        What activation buffer and parameter memory hold during each run.
    grid : Grid
    """

    streamed: frozenset[str]
    places: Mapping[str, Place]
    layouts: Mapping[str, Layout]
    live: tuple[tuple[Place, ...], ...]
    grid: Grid


def place_tensors(
    program: Program,
    sequence: Sequence[Run],
    memories: Mapping[MemoryName, Memory],
    grid: Grid,
    quarters: int = RESIDENT_QUARTERS[0],
) -> list[Residency]:
    """Return where every tensor of the program may live: different ways, if not all fit."""
    return _Placing(program, sequence, memories, grid, quarters).run()


@dataclass
class _Region:
    """Tensors that take one another's place, from the run of the first to that of the last."""

    memory: MemoryName
    names: list[str]
    bits: int
    first: int
    last: int
    scratch: bool


_ORDERS: Final[tuple[Callable[[_Region], Any], ...]] = (
    lambda region: region.first,
    lambda region: (-region.bits, region.first),
    lambda region: (region.last - region.first, -region.bits),
)
"""By birth; the largest first; the shortest-lived first: no one order is the best for all."""


class _Placing:
    def __init__(
        self,
        program: Program,
        sequence: Sequence[Run],
        memories: Mapping[MemoryName, Memory],
        grid: Grid,
        quarters: int,
    ) -> None:
        self._sequence, self._memories, self._grid = sequence, memories, grid
        self._layouts: dict[tuple[str, bool], Layout] = {}
        self._quarters = quarters
        self._places: dict[str, Place] = {}
        self._dram_end = 0
        self._born: dict[str, int] = {}
        self._dies: dict[str, int] = {}
        self._operands: dict[str, Operand] = {}
        self._written: dict[str, list[Operand]] = {}
        self._read: dict[str, list[Operand]] = {}
        for position, run in enumerate(sequence):
            for layer in run.layers:
                for operand in layer.inputs:
                    self._dies[operand.tensor] = position
                    self._note(operand, self._read)
                self._born.setdefault(layer.out.tensor, position)
                self._note(layer.out, self._written)
        self._streamed = frozenset(streamed(sequence))

    def _note(self, operand: Operand, ways: dict[str, list[Operand]]) -> None:
        ways.setdefault(operand.tensor, []).append(operand)
        known = self._operands.get(operand.tensor)
        if known is None or known.size < operand.size:
            self._operands[operand.tensor] = operand

    def run(self) -> list[Residency]:
        self._place_constants()
        ways: list[Residency] = []
        for order in _ORDERS:
            way = self._residency(self._arranged(order))
            if way not in ways:
                ways.append(way)
        return ways

    def _residency(self, placed: Mapping[str, Place]) -> Residency:
        places, end = {**self._places, **placed}, self._dram_end
        for name, operand in self._operands.items():
            if name not in places and name not in self._streamed:
                places[name] = self._in_dram(operand, end)
                end = places[name].end
        live = tuple(
            tuple(p for name, p in placed.items() if self._born[name] <= run <= self._dies[name])
            for run in range(len(self._sequence))
        )
        layouts = {name: self._layout(name, place.memory) for name, place in places.items()}
        return Residency(self._streamed, places, layouts, live, self._grid)

    def _layout(self, name: str, memory: MemoryName) -> Layout:
        """Return how a tensor lies in a memory; rows that a layer reads across have no gaps."""
        key = name, memory == "dram"
        if key not in self._layouts:
            self._layouts[key] = self._new_layout(*key)
        return self._layouts[key]

    def _new_layout(self, name: str, in_dram: bool) -> Layout:
        written, read = self._written.get(name, []), self._read.get(name, [])
        width = self._grid.width(self._operands[name])
        grain = self._grid.quantum(width) if in_dram else self._grid.lanes
        layout = Layout.of(stored_order(written, read), grain)
        try:
            for operand in (*written, *read):
                layout.view(operand.view)
        except SpecError:
            size = self._operands[name].size
            return Layout((Dimension(size, 1, 1),), whole(size, grain))
        return layout

    def _bits(self, name: str, memory: MemoryName) -> int:
        return self._layout(name, memory).size * self._grid.width(self._operands[name])

    def _arranged(self, order: Callable[[_Region], Any]) -> dict[str, Place]:
        """Place regions one after another where they fit; what has no room is left out."""
        places: dict[str, Place] = {}
        waiting = sorted(self._regions(), key=order)
        while waiting:
            region = waiting.pop(0)
            place = self._fit(region, places)
            if place is not None:
                places |= {n: replace(place, bits=self._region(n).bits) for n in region.names}
            elif len(region.names) > 1:  # then each by itself
                parts = [self._region(name) for name in region.names]
                waiting = sorted([*parts, *waiting], key=order)
        return places

    def _place_constants(self) -> None:
        constants = [operand for operand in self._operands.values() if operand.constant]
        memory = self._memories["weight"]
        of_b = {
            operand.tensor: memory.room(self._bits(operand.tensor, "weight"))
            for operand in constants
            if any("k" in reader.along for reader in self._read[operand.tensor])
        }
        resident, base = sum(of_b.values()) <= memory.bits, 0
        for operand in constants:
            bits = of_b.get(operand.tensor, 0)
            if resident and bits:
                self._places[operand.tensor] = Place("weight", base, bits)
                base += bits
            else:
                self._places[operand.tensor] = self._in_dram(operand, self._dram_end)
                self._dram_end = self._places[operand.tensor].end

    def _in_dram(self, operand: Operand, base: int) -> Place:
        return Place("dram", base, self._memories["dram"].room(self._bits(operand.tensor, "dram")))

    def _regions(self) -> list[_Region]:
        """Return a region for every tensor that may live on chip."""
        regions: list[_Region] = []
        of: dict[str, _Region] = {}
        for run in self._sequence:
            for step in run.steps:
                for layer in step:
                    name = layer.out.tensor
                    if name in self._streamed or name in of or name not in self._dies:
                        continue
                    region = self._region(name)
                    before = of.get(self._in_place(layer, step, run) or "")
                    joins = before is not None and before.last == region.first
                    if before is None or not joins or before.scratch != region.scratch:
                        of[name] = region
                        regions.append(region)
                        continue
                    before.names.append(name)
                    before.last = region.last
                    of[name] = before
        return regions

    def _region(self, name: str) -> _Region:
        first, last = self._born[name], self._dies[name]
        memory: MemoryName = "parameter" if self._operands[name].is_table else "activation"
        size, run = self._layout(name, memory).size, self._sequence[first]
        writer = next(layer for layer in run.layers if layer.out.tensor == name)
        scratch = len(run.steps) > 1 and first == last and _is_whole(writer)
        if scratch:
            size = whole(size // run.times, self._grid.lanes)
        bits = size * self._grid.width(self._operands[name])
        return _Region(memory, [name], self._memories[memory].room(bits), first, last, scratch)

    def _fit(self, region: _Region, places: Mapping[str, Place]) -> Place | None:
        taken = [
            place
            for name, place in places.items()
            if place.memory == region.memory
            and self._born[name] <= region.last
            and region.first <= self._dies[name]
        ]
        base = _first_fit(taken, region.bits)
        if base + region.bits > self._memories[region.memory].bits * self._quarters // 4:
            return None
        return Place(region.memory, base, region.bits, region.scratch)

    def _in_place(self, layer: Layer, step: Members, run: Run) -> str | None:
        """Return an operand that dies here, if results may take its place."""
        if isinstance(step[0], MatmulLayer) or not isinstance(layer, VectorLayer):
            return None
        out = layer.out
        if out.view != View.contiguous((layer.rows, layer.length)) or out.elements != out.size:
            return None
        for operand in layer.inputs:
            readers = [
                other
                for other in run.layers
                if any(read.tensor == operand.tensor for read in other.inputs)
            ]
            alike = operand.view == out.view and out.bits <= operand.bits
            alike = alike and operand.elements == operand.size
            layouts = [self._layout(name, "activation") for name in (operand.tensor, out.tensor)]
            alike = alike and layouts[0] == layouts[1]
            inside = len(run.steps) == 1 or self._born.get(operand.tensor) == self._born[out.tensor]
            if alike and inside and len(readers) == 1:
                return operand.tensor
        return None


def _is_whole(layer: Layer) -> bool:
    """Whether a layer writes all of its tensor in order, so that instances lie side by side."""
    view, elements = layer.out.view, layer.out.elements
    return elements == layer.out.size and view.reshape((elements,)) == View.contiguous((elements,))


def _first_fit(taken: Sequence[Place], room: int) -> int:
    base = 0
    for place in sorted(taken, key=lambda place: place.base):
        if base + room <= place.base:
            return base
        base = max(base, place.end)
    return base
