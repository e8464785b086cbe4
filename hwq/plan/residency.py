"""Where the tensors of a program live, from the step that writes them to the last that reads them.

* A tensor that only the passes behind its producer read is *streamed*: never stored.
* Any other activation that fits beside those already there lives in the activation buffer. A
  quarter of it is kept for blocks of operands that come from DRAM.
* A pass works row by row, so its results may take the place of an operand that dies there.
* Of what only the steps of one group write and read, one instance is stored, not all.
* What nobody reads is a result of the program and goes to DRAM.
* Constants live in the weight buffer only if all of them fit there together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hwq.compiler.operand import Operand
from hwq.compiler.program import Layer, MatmulLayer, Program, VectorLayer
from hwq.compiler.view import View
from hwq.numerics.unit import ceil_div
from hwq.plan.plan import Memory, MemoryName

_RESIDENT_SHARE: Final = (3, 4)

Members = list[Layer]
"""The layers of one step: a matmul and what is fused to it, or one vector layer."""


@dataclass(frozen=True)
class Run:
    """Steps that are done `times` times, one after another."""

    times: int
    steps: tuple[Members, ...]

    @property
    def layers(self) -> Iterator[Layer]:
        """All layers in order."""
        return (layer for members in self.steps for layer in members)


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
    live : tuple of tuple of Place
        What the activation buffer holds during each run.
    """

    streamed: frozenset[str]
    places: Mapping[str, Place]
    live: tuple[tuple[Place, ...], ...]


def runs(program: Program) -> list[Run]:
    """Group the layers of a program: steps, and heads that are done one after another.

    From one matmul over heads to the next one over as many (scores, softmax, values), all that
    reads what the first made is done head by head; what does not is done before.
    """
    steps: list[Members] = []
    for layer in program.layers:
        if isinstance(layer, VectorLayer) and layer.fused:
            steps[-1].append(layer)
        else:
            steps.append([layer])
    matmuls = [i for i, members in enumerate(steps) if isinstance(members[0], MatmulLayer)]
    joined: dict[int, int] = {}
    for start, end in pairwise(matmuls):
        if start not in joined.values() and _by_head(steps[start : end + 1]):
            joined[start] = end
    result, position = [], 0
    while position < len(steps):
        end = joined.get(position, position)
        inside = steps[position : end + 1]
        members = _readers(inside) if len(inside) > 1 else inside
        result += [Run(1, (step,)) for step in inside if not any(step is m for m in members)]
        first = inside[0][0]
        result.append(Run(first.count if isinstance(first, MatmulLayer) else 1, tuple(members)))
        position = end + 1
    return result


def _readers(steps: Sequence[Members]) -> list[Members]:
    """Return the steps that read what the first one, or one that reads it, wrote."""
    tensors = {layer.out.tensor for layer in steps[0]}
    members = [steps[0]]
    for step in steps[1:]:
        if any(operand.tensor in tensors for layer in step for operand in layer.inputs):
            members.append(step)
            tensors |= {layer.out.tensor for layer in step}
    return members


def _by_head(steps: Sequence[Members]) -> bool:
    first, last = steps[0][0], steps[-1][0]
    assert isinstance(first, MatmulLayer) and isinstance(last, MatmulLayer)
    members = _readers(steps)
    if first.count == 1 or first.count != last.count or members[-1] is not steps[-1]:
        return False
    between = [layer for step in members for layer in step if isinstance(layer, VectorLayer)]
    return all(
        layer.rows % first.count == 0
        and layer.unit not in ("mean", "range_extract", "scale_predictor", "rescale")
        for layer in between
    )


def place_tensors(
    program: Program, sequence: Sequence[Run], memories: Mapping[MemoryName, Memory]
) -> Residency:
    """Decide for every tensor of the program where it lives."""
    return _Placing(program, sequence, memories).run()


class _Placing:
    def __init__(
        self, program: Program, sequence: Sequence[Run], memories: Mapping[MemoryName, Memory]
    ) -> None:
        self._sequence, self._memories = sequence, memories
        share, whole = _RESIDENT_SHARE
        self._limit = memories["activation"].bits * share // whole
        self._places: dict[str, Place] = {}
        self._dram_end = 0
        self._born: dict[str, int] = {}
        self._dies: dict[str, int] = {}
        self._operands: dict[str, Operand] = {}
        for position, run in enumerate(sequence):
            for layer in run.layers:
                for operand in layer.inputs:
                    self._dies[operand.tensor] = position
                    self._note(operand)
                self._born.setdefault(layer.out.tensor, position)
                self._note(layer.out)
        self._streamed = frozenset(_streamed(sequence))

    def _note(self, operand: Operand) -> None:
        known = self._operands.get(operand.tensor)
        if known is None or known.size < operand.size:
            self._operands[operand.tensor] = operand

    def run(self) -> Residency:
        self._place_constants()
        on_chip: list[tuple[Place, ...]] = []
        for position, run in enumerate(self._sequence):
            before = self._live(position)
            for step in run.steps:
                for layer in step:
                    name = layer.out.tensor
                    if name not in self._streamed and name not in self._places:
                        self._place(layer, step, position)
            on_chip.append(tuple({*before, *self._live(position)}))
        for name, operand in self._operands.items():
            if name not in self._places and name not in self._streamed:
                self._to_dram(name, operand.stored_bits)
        return Residency(self._streamed, self._places, tuple(on_chip))

    def _place_constants(self) -> None:
        constants = [operand for operand in self._operands.values() if operand.constant]
        memory = self._memories["weight"]
        sizes = [_words(operand.stored_bits, memory) for operand in constants]
        base = 0
        for operand, bits in zip(constants, sizes, strict=True):
            if sum(sizes) <= memory.bits:
                self._places[operand.tensor] = Place("weight", base, bits)
                base += bits
            else:
                self._to_dram(operand.tensor, operand.stored_bits)

    def _to_dram(self, name: str, bits: int) -> None:
        room = _words(bits, self._memories["dram"])
        self._places[name] = Place("dram", self._dram_end, room)
        self._dram_end += room

    def _live(self, position: int) -> list[Place]:
        return [
            place
            for name, place in self._places.items()
            if place.memory == "activation"
            and self._born.get(name, position) <= position <= self._dies.get(name, -1)
        ]

    def _place(self, layer: Layer, step: Members, position: int) -> None:
        name, out = layer.out.tensor, self._operands[layer.out.tensor]
        if name not in self._dies:
            return  # a result of the program
        run = self._sequence[position]
        scratch = len(run.steps) > 1 and self._inside(name, position) and _split(layer, run.times)
        bits = out.stored_bits // run.times if scratch else out.stored_bits
        room = _words(bits, self._memories["activation"])
        taken = self._live(position)
        base = self._in_place(layer, step, position, bits, scratch)
        if base is None:
            base = _first_fit(taken, room)
        if base + room <= self._limit:
            self._places[name] = Place("activation", base, room, scratch)

    def _inside(self, name: str, position: int) -> bool:
        return self._born[name] == self._dies[name] == position

    def _in_place(
        self, layer: Layer, step: Members, position: int, bits: int, scratch: bool
    ) -> int | None:
        """Return the base of an operand that dies here, if results may take its place."""
        run, out = self._sequence[position], layer.out
        if isinstance(step[0], MatmulLayer) or not isinstance(layer, VectorLayer):
            return None
        if out.view != View.contiguous((layer.rows, layer.length)) or out.elements != out.size:
            return None
        for operand in layer.inputs:
            name = operand.tensor
            place = self._places.get(name)
            if place is None or place.memory != "activation" or self._dies[name] != position:
                continue
            readers = [other for other in run.layers if any(i.tensor == name for i in other.inputs)]
            alike = operand.view == out.view and out.bits <= operand.bits
            alike = alike and operand.elements == operand.size
            if alike and len(readers) == 1 and place.scratch == scratch and bits <= place.bits:
                if len(run.steps) > 1 and not scratch:
                    continue
                return place.base
        return None


def _split(layer: Layer, times: int) -> bool:
    """Whether the results of one instance lie together."""
    view, elements = layer.out.view, layer.out.elements
    return elements == layer.out.size and view.reshape((elements,)) == View.contiguous((elements,))


def _streamed(sequence: Sequence[Run]) -> Iterator[str]:
    readers: dict[str, list[Members]] = {}
    for run in sequence:
        for step in run.steps:
            for layer in step:
                for operand in layer.inputs:
                    readers.setdefault(operand.tensor, []).append(step)
    for run in sequence:
        for step in run.steps:
            for layer in step:
                those = readers.get(layer.out.tensor)
                if those and all(reader is step for reader in those):
                    yield layer.out.tensor


def _first_fit(taken: Sequence[Place], room: int) -> int:
    base = 0
    for place in sorted(taken, key=lambda place: place.base):
        if base + room <= place.base:
            return base
        base = max(base, place.end)
    return base


def _words(bits: int, memory: Memory) -> int:
    return ceil_div(bits, memory.word_bits) * memory.word_bits
