"""Where the tensors of a plan are, and from when to when something reads them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.view import View
from hwq.errors import SpecError, require
from hwq.plan.layout import Grid, whole
from hwq.plan.memory import Home, MemoryName
from hwq.plan.plan import Plan, Port, Step
from hwq.plan.residency import Place

Moment = tuple[int, int]
"""Group, and step in it."""


@dataclass
class _Tensor:
    """What is known of a tensor: where it is, and when."""

    memory: MemoryName
    base: int
    bits: int
    written: NDArray[np.bool_]
    given: bool
    first: Moment = (-1, 0)
    last: Moment = (-1, 0)
    readers: list[tuple[Moment, Port]] = field(default_factory=list)
    writers: list[tuple[Moment, Port]] = field(default_factory=list)


class Lives:
    """The tensors of a plan, as its ports say.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memories = {memory.name: memory for memory in plan.memories}
        self.grid = Grid(plan.lanes, plan.memory("weight").word_bits)
        self._tensors: dict[str, _Tensor] = {}
        self._homes = {home.tensor: home for home in plan.homes}
        self._read_homes()

    def _steps(self) -> Iterator[tuple[Moment, Step]]:
        for position, group in enumerate(self._plan.groups):
            for number, step in enumerate(group.steps):
                yield (position, number), step

    def _read_homes(self) -> None:
        written = {p.tensor for _, step in self._steps() for p in step.outputs}
        for home in self._plan.homes:
            size = home.view.last + 1
            self._check_place(home.tensor, home.memory, home.base, size * home.bits)
            present = np.zeros(size, np.bool_)
            present[_places(home.tensor, home.view, size)] = True
            if home.tensor not in written:
                self._tensors[home.tensor] = _Tensor(
                    home.memory, home.base, home.bits, present, given=True
                )

    def _check_place(self, what: str, name: MemoryName, base: int, bits: int) -> None:
        require(name in self._memories, f"{what}: memory must be one of the plan's, not {name!r}")
        memory = self._memories[name]
        require(
            0 <= base <= memory.bits - bits,
            f"{what}: base must be in 0..{memory.bits - bits} of {name}, not {base}",
        )
        require(
            base % memory.word_bits == 0,
            f"{what}: base must be a multiple of {memory.word_bits}, not {base}",
        )

    def read(self, moment: Moment, port: Port) -> None:
        """Check a port that reads."""
        tensor = self._tensors.get(port.tensor)
        require(tensor is not None, f"{port.name}: {port.tensor} must be written before")
        assert tensor is not None
        self._check_same(port, tensor)
        places = _places(port.name, port.view, tensor.written.size)
        require(bool(tensor.written[places].all()), f"{port.name}: reads what is not written")
        tensor.last = moment
        tensor.readers.append((moment, port))

    def _check_same(self, port: Port, tensor: _Tensor) -> None:
        for what, given, known in (
            ("memory", port.memory, tensor.memory),
            ("base", port.base, tensor.base),
            ("bits", port.bits, tensor.bits),
        ):
            require(
                given == known,
                f"{port.name}: {what} of {port.tensor} must be {known}, not {given}",
            )

    def write(self, moment: Moment, port: Port) -> None:
        """Check a port that writes."""
        tensor = self._tensors.get(port.tensor)
        if tensor is None:
            size, home = self._size(port), self._homes.get(port.tensor)
            tensor = _Tensor(
                port.memory, port.base, port.bits, np.zeros(size, np.bool_), False, moment, moment
            )
            self._tensors[port.tensor] = tensor
            self._check_place(port.name, port.memory, port.base, size * port.bits)
            if home is not None:
                self._check_home(port, home, size)
        require(not tensor.given, f"{port.name}: what is given must not be written")
        self._check_same(port, tensor)
        places = _places(port.name, port.view, tensor.written.size)
        require(
            places.size == port.view.elements and not tensor.written[places].any(),
            f"{port.name}: must be written once",
        )
        tensor.written[places] = True
        tensor.writers.append((moment, port))
        tensor.last = max(tensor.last, moment)

    def _check_home(self, port: Port, home: Home, size: int) -> None:
        for what, given, known in (
            ("memory", port.memory, home.memory),
            ("base", port.base, home.base),
            ("bits", port.bits, home.bits),
            ("elements", size, home.view.last + 1),
        ):
            require(given == known, f"{port.name}: {what} must be {known}, not {given}")

    def _size(self, port: Port) -> int:
        """Room of a tensor, in elements: as far as its writers come."""
        writers = [p for _, step in self._steps() for p in step.outputs]
        return max(p.view.last + 1 for p in writers if p.tensor == port.tensor)

    def check(self) -> None:
        """Check, after all ports, that results are whole, and no two live tensors share a bit."""
        for name, home in self._homes.items():
            tensor = self._tensors[name]
            places = _places(name, home.view, tensor.written.size)
            require(bool(tensor.written[places].all()), f"{name}: must be written whole")
        for name, tensor in self._tensors.items():
            require(
                bool(tensor.readers) or name in self._homes,
                f"{name}: what nobody reads must be a result",
            )
        by_memory: dict[str, list[tuple[str, _Tensor]]] = {}
        for name, tensor in self._tensors.items():
            by_memory.setdefault(tensor.memory, []).append((name, tensor))
        for tensors in by_memory.values():
            for (name, tensor), (other_name, other) in combinations(tensors, 2):
                place = self._place(other)
                if self._place(tensor).overlaps(place) and self._alive_together(tensor, other):
                    raise SpecError(
                        f"{other_name}: bits {other.base}..{place.end - 1} of "
                        f"{other.memory} hold {name}"
                    )

    def _place(self, tensor: _Tensor) -> Place:
        """Return where a tensor is, to the end of its last word, or of its last beat in DRAM."""
        in_dram = tensor.memory == "dram"
        grain = self.grid.quantum(tensor.bits) if in_dram else self.grid.lanes
        return Place(tensor.memory, tensor.base, whole(tensor.written.size, grain) * tensor.bits)

    def _life(self, tensor: _Tensor) -> tuple[Moment, Moment]:
        if tensor.memory == "dram" or tensor.given:
            return (-1, 0), (len(self._plan.groups), 0)
        (first, _), (last, _) = tensor.first, tensor.last
        if first == last and _is_scratch(tensor):
            return tensor.first, tensor.last
        return (first, 0), (last, len(self._plan.groups[last].steps) - 1)

    def _alive_together(self, tensor: _Tensor, other: _Tensor) -> bool:
        (begin, end), (other_begin, other_end) = self._life(tensor), self._life(other)
        if end < other_begin or other_end < begin:
            return False
        older, newer = (tensor, other) if begin <= other_begin else (other, tensor)
        return not self._in_place(older, newer)

    def _in_place(self, older: _Tensor, newer: _Tensor) -> bool:
        """Whether rows of results take the place of rows that are read for the last time."""
        if older.base != newer.base or older.bits < newer.bits or older.last != newer.first:
            return False
        group = self._plan.groups[newer.first[0]]
        step = group.steps[newer.first[1]]
        views = {port.view for moment, port in older.readers if moment == older.last}
        views |= {port.view for _, port in newer.writers}
        return step.product is None and len(views) == 1

    def floor(self, moment: Moment, memory: MemoryName) -> int:
        """Return where the tensors end that are alive during a group."""
        live = [
            self._place(tensor)
            for tensor in self._tensors.values()
            if tensor.memory == memory
            and self._life(tensor)[0][0] <= moment[0] <= self._life(tensor)[1][0]
        ]
        room = self._memories[memory].room
        return max((room(place.end) for place in live), default=0)


def _places(what: str, view: View, size: int) -> NDArray[np.int64]:
    """Places in a tensor of `size` elements, each once; what is repeated counts once."""
    for n, stride in (level for axis in view.axes for level in axis):
        require(n > 0 <= stride, f"{what}: {n} elements {stride} apart cannot be")
    require(
        0 <= view.offset and view.last < size, f"{what}: element {view.last} must be below {size}"
    )
    places = np.array(view.offset)
    for axis, count in enumerate(view.shape):
        along = view.places(axis, 0, count if view.moves(axis) else 1)
        places = places[..., np.newaxis] + along
    flat = places.ravel()
    seen = np.zeros(size, np.bool_)
    seen[flat] = True
    require(
        view.elements == np.count_nonzero(seen), f"{what}: strides must lead to every element once"
    )
    return flat


def _is_scratch(tensor: _Tensor) -> bool:
    ports = [port for _, port in tensor.readers + tensor.writers]
    return all("c" in port.along and not port.moves[0] for port in ports)
