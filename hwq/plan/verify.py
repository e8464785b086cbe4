"""Whether a plan is one that a machine can run: addresses, lifetimes, transfers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hwq.errors import SpecError, require
from hwq.numerics.unit import ceil_div
from hwq.plan.blocks import used
from hwq.plan.plan import BUFFERS, Group, Home, Memory, MemoryName, Plan, Port, Step
from hwq.plan.residency import Place
from hwq.plan.tiling import copies

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

    @property
    def place(self) -> Place:
        return Place(self.memory, self.base, self.written.size * self.bits)


def verify(plan: Plan) -> None:
    """Check that a plan is whole.

    Every tensor is in one place, which lies in its memory and overlaps nothing that is alive;
    nothing is read before it is written, and everything is written once; blocks have the room that
    they need, packed side by side; a block that comes under the step before hurts nothing there,
    and a step waits only if it must.

    Raises
    ------
    SpecError
        For the first thing that is wrong; it names step, port and address.
    """
    _Verifier(plan).run()


class _Verifier:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memories = {memory.name: memory for memory in plan.memories}
        self._tensors: dict[str, _Tensor] = {}
        self._homes = {home.tensor: home for home in plan.homes}

    def run(self) -> None:
        self._read_homes()
        for moment, group, step in self._steps():
            try:
                self._step(moment, group, step)
            except SpecError as error:
                raise SpecError(f"{step.name}: {error}") from error
        for name, tensor in self._tensors.items():
            require(bool(tensor.written.all()), f"{name}: must be written whole")
            require(
                bool(tensor.readers) or name in self._homes,
                f"{name}: what nobody reads must be a result",
            )
        self._check_lives()
        previous: list[tuple[Moment, Step]] = []
        for moment, group, step in self._steps():
            before = previous[-1:]
            if moment[1] == 0 and group.times > 1 and len(group.steps) > 1:
                before = [*before, ((moment[0], len(group.steps) - 1), group.steps[-1])]
            try:
                self._check_blocks(moment, group, step)
                self._check_begin(moment, step, before)
            except SpecError as error:
                raise SpecError(f"{step.name}: {error}") from error
            previous.append((moment, step))

    def _steps(self) -> Iterator[tuple[Moment, Group, Step]]:
        for position, group in enumerate(self._plan.groups):
            for number, step in enumerate(group.steps):
                yield (position, number), group, step

    def _read_homes(self) -> None:
        written = {p.tensor for _, _, step in self._steps() for p in step.outputs}
        for home in self._plan.homes:
            self._check_place(home.tensor, home.memory, home.base, home.elements * home.bits)
            if home.tensor not in written:
                whole = np.ones(home.elements, np.bool_)
                self._tensors[home.tensor] = _Tensor(
                    home.memory, home.base, home.bits, whole, given=True
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

    def _step(self, moment: Moment, group: Group, step: Step) -> None:
        sizes = {"c": group.times, "m": step.m, "n": step.n, "k": step.k}
        for name, tile in (("m", step.tile_m), ("n", step.tile_n), ("k", step.tile_k)):
            require(1 <= tile <= sizes[name], f"tile_{name} must be in 1..{sizes[name]}")
        if step.product is not None:
            for port, along, bits in zip(
                step.inputs,
                (("c", "m", "k"), ("c", "k", "n")),
                (step.product.pe.a_bits, step.product.pe.b_bits),
                strict=False,
            ):
                require(port.along == along, f"{port.name}: must run along {along}")
                require(port.bits == bits, f"{port.name}: must have {bits} bits, not {port.bits}")
        for port in step.ports:
            for loop, count in zip(port.along, port.view.shape, strict=True):
                require(
                    loop == "all" or count == sizes[loop],
                    f"{port.name}: {loop} must have {sizes.get(loop)} elements, not {count}",
                )
        for port in step.inputs:
            self._read(moment, port)
        for port in step.outputs:
            self._write(moment, group, step, port)

    def _read(self, moment: Moment, port: Port) -> None:
        tensor = self._tensors.get(port.tensor)
        require(tensor is not None, f"{port.name}: {port.tensor} must be written before")
        assert tensor is not None
        self._check_same(port, tensor)
        places = self._places(port, tensor)
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

    def _places(self, port: Port, tensor: _Tensor) -> NDArray[np.int64]:
        """Places in the tensor, each once; what is repeated counts once."""
        view = port.view
        for n, stride in (level for axis in view.axes for level in axis):
            require(n > 0 <= stride, f"{port.name}: {n} elements {stride} apart cannot be")
        require(
            0 <= view.offset and view.last < tensor.written.size,
            f"{port.name}: element {view.last} must be below {tensor.written.size}",
        )
        places = np.array(view.offset)
        for axis, count in enumerate(view.shape):
            along = view.places(axis, 0, count if view.moves(axis) else 1)
            places = places[..., np.newaxis] + along
        flat = places.ravel()
        seen = np.zeros(tensor.written.size, np.bool_)
        seen[flat] = True
        require(
            view.elements == np.count_nonzero(seen),
            f"{port.name}: strides must lead to every element once",
        )
        return flat

    def _write(self, moment: Moment, group: Group, step: Step, port: Port) -> None:
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
        places = self._places(port, tensor)
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
            ("elements", size, home.elements),
        ):
            require(given == known, f"{port.name}: {what} must be {known}, not {given}")

    def _size(self, port: Port) -> int:
        """Elements of a tensor: what its writers write together."""
        writers = [p for _, _, step in self._steps() for p in step.outputs]
        return sum(p.view.elements for p in writers if p.tensor == port.tensor)

    def _check_lives(self) -> None:
        """No two tensors that are alive at the same time share a bit."""
        by_memory: dict[str, list[tuple[str, _Tensor]]] = {}
        for name, tensor in self._tensors.items():
            by_memory.setdefault(tensor.memory, []).append((name, tensor))
        for tensors in by_memory.values():
            for (name, one), (other_name, other) in combinations(tensors, 2):
                if one.place.overlaps(other.place) and self._alive_together(one, other):
                    raise SpecError(
                        f"{other_name}: bits {other.base}..{other.place.end - 1} of "
                        f"{other.memory} hold {name}"
                    )

    def _life(self, tensor: _Tensor) -> tuple[Moment, Moment]:
        if tensor.memory == "dram" or tensor.given:
            return (-1, 0), (len(self._plan.groups), 0)
        (first, _), (last, _) = tensor.first, tensor.last
        if first == last and _is_scratch(tensor):
            return tensor.first, tensor.last
        return (first, 0), (last, len(self._plan.groups[last].steps) - 1)

    def _alive_together(self, one: _Tensor, other: _Tensor) -> bool:
        (begin, end), (other_begin, other_end) = self._life(one), self._life(other)
        if end < other_begin or other_end < begin:
            return False
        older, newer = (one, other) if begin <= other_begin else (other, one)
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

    def _check_blocks(self, moment: Moment, group: Group, step: Step) -> None:
        """Blocks and sums lie side by side, from where the live tensors end or to the top."""
        alone = len(group.steps) == 1
        spans: dict[str, list[Place]] = {name: [] for name in BUFFERS}
        if step.product is not None:
            memory = self._memories["output"]
            bits = step.product.tile_sums_bits(step.tile_m, step.tile_n)
            spans["output"].append(Place("output", step.product.sums_base, _words(bits, memory)))
        for port in step.ports:
            stage = port.stage
            require(
                (stage is None) == (port.memory != "dram"),
                f"{port.name}: what lies in DRAM, and nothing else, has blocks on chip",
            )
            if stage is None:
                continue
            wanted = "output" if port in step.outputs else "weight"
            require(
                stage.memory in (wanted, "activation" if wanted == "weight" else wanted),
                f"{port.name}: blocks must be in {wanted}, not {stage.memory}",
            )
            need = port.block_bits(step.tile_m, step.tile_n, step.tile_k)
            need = _words(need, self._memories[stage.memory])
            require(stage.bits == need, f"{port.name}: blocks must have {need} bits")
            count = copies(port, step, group.times, alone)
            require(len(stage.bases) == count, f"{port.name}: must have {count} places")
            spans[stage.memory] += [Place(stage.memory, base, need) for base in stage.bases]
        for name, places in spans.items():
            if places:
                self._check_packed(moment, self._memories[name], places)  # type: ignore[index]

    def _check_packed(self, moment: Moment, memory: Memory, places: list[Place]) -> None:
        floor, room = self._floor(moment, memory.name), sum(place.bits for place in places)
        top = (memory.bits - room) // memory.word_bits * memory.word_bits
        first = places[0].base
        require(
            first in (floor, max(top, floor)) and floor + room <= memory.bits,
            f"blocks in {memory.name} must begin at {floor} or {top}, not {first}",
        )
        for place in places:
            require(
                place.base == first,
                f"blocks in {memory.name} must follow one another: at {first}, not {place.base}",
            )
            first = place.end

    def _floor(self, moment: Moment, memory: str) -> int:
        """Where the tensors end that are alive during a group."""
        live = [
            tensor.place
            for tensor in self._tensors.values()
            if tensor.memory == memory
            and self._life(tensor)[0][0] <= moment[0] <= self._life(tensor)[1][0]
        ]
        word = self._memories[memory].word_bits  # type: ignore[index]
        return max((_rounded(place.end, word) for place in live), default=0)

    def _check_begin(self, moment: Moment, step: Step, before: list[tuple[Moment, Step]]) -> None:
        """Blocks come under the step before, and the step does not wait, wherever that is safe."""
        for port in step.staged_inputs:
            early = bool(before) and all(
                self._may_come(port, earlier, other) for earlier, other in before
            )
            require(port.early == early, f"{port.name}: early must be {early}")
        for port in step.ports:
            require(port.stage is not None or not port.early, f"{port.name}: nothing comes early")
        own = [place for place in used(step) if place.memory == "output"]
        drains = any(
            Place("output", base, port.stage.bits).overlaps(place)
            for _, other in before
            for port in other.staged_outputs
            if port.stage
            for base in port.stage.bases
            for place in own
        )
        late = any(not port.early for port in step.staged_inputs)
        waits = not before or drains or late
        require(step.waits == waits, f"waits must be {waits}")

    def _may_come(self, port: Port, moment: Moment, other: Step) -> bool:
        """Whether a block may arrive while another step works."""
        stage = port.stage
        assert stage is not None
        if any(out.tensor == port.tensor for out in other.staged_outputs):
            return False
        halves = [Place(stage.memory, base, stage.bits) for base in stage.bases]
        floor = self._floor(moment, stage.memory)
        return all(
            half.base >= floor and not any(half.overlaps(place) for place in used(other))
            for half in halves
        )


def _is_scratch(tensor: _Tensor) -> bool:
    ports = [port for _, port in tensor.readers + tensor.writers]
    return all("c" in port.along and not port.moves[0] for port in ports)


def _words(bits: int, memory: Memory) -> int:
    return _rounded(bits, memory.word_bits)


def _rounded(bits: int, word: int) -> int:
    return ceil_div(bits, word) * word
