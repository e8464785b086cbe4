"""Whether a plan is one that a machine can run: addresses, lifetimes, transfers."""

from collections.abc import Iterator

from hwq.errors import SpecError, require
from hwq.plan.blocks import drains_into, used
from hwq.plan.lives import Lives, Moment
from hwq.plan.memory import BUFFERS, Memory, MemoryName, Stage
from hwq.plan.plan import Group, Plan, Port, Step
from hwq.plan.residency import Place
from hwq.plan.tiling import copies


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

    def run(self) -> None:
        self._lives = Lives(self._plan)
        for moment, group, step in self._steps():
            try:
                self._check_ports(moment, group, step)
            except SpecError as error:
                raise SpecError(f"{step.name}: {error}") from error
        self._lives.check()
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

    def _check_ports(self, moment: Moment, group: Group, step: Step) -> None:
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
            self._lives.read(moment, port)
        for port in step.outputs:
            self._lives.write(moment, port)

    def _check_blocks(self, moment: Moment, group: Group, step: Step) -> None:
        """Blocks and sums lie side by side, from where the live tensors end or to the top."""
        alone = len(group.steps) == 1
        spans: dict[MemoryName, list[Place]] = {name: [] for name in BUFFERS}
        if step.product is not None:
            memory = self._memories["output"]
            bits = step.product.tile_sums_bits(step.tile_m, step.tile_n)
            spans["output"].append(Place("output", step.product.sums_base, memory.room(bits)))
        for port in step.ports:
            stage = port.stage
            require(
                (stage is None) == (port.memory != "dram"),
                f"{port.name}: what lies in DRAM, and nothing else, has blocks on chip",
            )
            if stage is None:
                continue
            of_b = step.product is not None and port is step.inputs[1]
            wanted = ("weight",) if of_b else ("activation", "parameter")
            require(
                stage.memory in wanted,
                f"{port.name}: blocks must be in {' or '.join(wanted)}, not {stage.memory}",
            )
            self._check_runs(step, port, stage)
            need = port.block_bits(step.tile_m, step.tile_n, step.tile_k)
            need = self._memories[stage.memory].room(need)
            require(stage.bits == need, f"{port.name}: blocks must have {need} bits")
            count = copies(port, step, group.times, alone)
            require(len(stage.bases) == count, f"{port.name}: must have {count} places")
            spans[stage.memory] += [Place(stage.memory, base, need) for base in stage.bases]
        for name, places in spans.items():
            if places:
                self._check_packed(moment, self._memories[name], places)

    def _check_runs(self, step: Step, port: Port, stage: Stage) -> None:
        """Rows of blocks are whole words of lanes and whole beats, and are cut at such."""
        quantum = self._lives.grid.quantum(port.bits)
        require(
            stage.quantum == quantum,
            f"{port.name}: quantum must be {quantum}, not {stage.quantum}",
        )
        sizes = {"m": (step.tile_m, step.m), "n": (step.tile_n, step.n), "k": (step.tile_k, step.k)}
        loop = port.along[port.row]
        tile, size = sizes.get(loop, (0, 0))
        require(
            tile == size or tile % quantum == 0,
            f"{port.name}: tile_{loop} must be {size} or a multiple of {quantum}, not {tile}",
        )

    def _check_packed(self, moment: Moment, memory: Memory, places: list[Place]) -> None:
        floor, room = self._lives.floor(moment, memory.name), sum(place.bits for place in places)
        top = memory.top(room)
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

    def _check_begin(self, moment: Moment, step: Step, before: list[tuple[Moment, Step]]) -> None:
        """Blocks come under the step before, and the step does not wait, wherever that is safe."""
        for port in step.staged_inputs:
            early = bool(before) and all(
                self._may_come(port, earlier, other) for earlier, other in before
            )
            require(port.early == early, f"{port.name}: early must be {early}")
        for port in step.ports:
            require(port.stage is not None or not port.early, f"{port.name}: nothing comes early")
        drains = any(drains_into(other, step) for _, other in before)
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
        floor = self._lives.floor(moment, stage.memory)
        return all(
            half.base >= floor and not any(half.overlaps(place) for place in used(other))
            for half in halves
        )
