"""The slots of a plan: one after another, or one for each kind with the number of its like."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from hwq.plan.plan import Group, Plan, Port, Step


class Tile(NamedTuple):
    """One turn of a step's loops: an instance, and the numbers of the tiles along m, n, k."""

    step: Step
    times: int
    alone: bool
    c: int
    m: int
    n: int
    k: int

    @property
    def extents(self) -> tuple[int, int, int]:
        """Rows, columns and depth of the tile; at the edges they are smaller."""
        s = self.step
        return (
            min(s.tile_m, s.m - self.m * s.tile_m),
            min(s.tile_n, s.n - self.n * s.tile_n),
            min(s.tile_k, s.k - self.k * s.tile_k),
        )

    @property
    def enters(self) -> bool:
        """Whether another step, or nothing, was there before."""
        return not (self.m or self.n or self.k or (self.alone and self.c))

    @property
    def completes(self) -> bool:
        """Whether the tile's sums are complete."""
        return self.k == self.step.tiles[2] - 1

    @property
    def ends_instance(self) -> bool:
        """Whether it is the last tile of its instance."""
        tiles = self.step.tiles
        return self.completes and self.m == tiles[0] - 1 and self.n == tiles[1] - 1

    @property
    def ends_step(self) -> bool:
        """Whether it is the last tile of the last instance."""
        return self.c == self.times - 1 and self.ends_instance

    def block(self, port: Port) -> tuple[int, ...]:
        """Return what tells blocks of a port apart."""
        c, m, n, k = port.moves
        return self.c * c, self.m * m, self.n * n, self.k * k

    def needs(self, before: "Tile | None") -> tuple[Port, ...]:
        """Return the ports whose blocks it does not find on chip."""
        ports = self.step.staged_inputs
        if before is None or self.enters:
            return ports
        return tuple(port for port in ports if self.block(port) != before.block(port))

    def gives(self) -> tuple[Port, ...]:
        """Return the ports whose blocks are to be stored after it."""
        if not self.completes:
            return ()
        return tuple(
            port for port in self.step.staged_outputs if self.ends_step or "all" not in port.along
        )


class Move(NamedTuple):
    """A block on its way between DRAM and its stage."""

    tile: Tile
    port: Port

    @property
    def bits(self) -> int:
        """Size of the block."""
        return int(self.port.block_bits(*self.tile.extents))


class Slot(NamedTuple):
    """What happens at the same time; without a tile, only data moves, for `owner`.

    Stores go before loads.
    """

    owner: Step
    tile: Tile | None
    stores: tuple[Move, ...]
    loads: tuple[Move, ...]

    @property
    def moved_bits(self) -> int:
        """What crosses the DRAM bus."""
        return sum(move.bits for move in self.stores + self.loads)


def unroll(plan: Plan) -> Iterator[Slot]:
    """Yield all slots in order of time."""
    before = tile = None
    for after in _tiles(plan):
        if tile is not None:
            yield from _around(before, tile, after)
        before, tile = tile, after
    assert tile is not None
    yield from _around(before, tile, None)


def kinds(plan: Plan) -> Iterator[tuple[Slot, int]]:
    """Yield slots that stand for all, each with the number that it stands for."""
    for position, group in enumerate(plan.groups):
        before = _last_tile(plan.groups[position - 1]) if position else None
        after = None
        if position + 1 < len(plan.groups):
            after = _first_tile(plan.groups[position + 1])
        for tile, times in _representatives(group):
            earlier, later = _previous(group, tile) or before, _next(group, tile) or after
            for slot in _around(earlier, tile, later):
                yield slot, times


def lone_kinds(step: Step, times: int, alone: bool) -> Iterator[tuple[Slot, int]]:
    """Yield the same of one step, as if nothing were before and after it."""
    group = Group(times, (step,))
    for tile, number in _representatives(group, alone):
        before, after = _previous(group, tile), _next(group, tile)
        for slot in _around(before, tile, after):
            yield slot, number


def _around(before: Tile | None, tile: Tile, after: Tile | None) -> Iterator[Slot]:
    """Yield the slot of a tile, with what only moves before it and, at the end, behind it."""
    step = tile.step
    drained: tuple[Move, ...] = ()
    if before is not None:
        drained = tuple(Move(before, port) for port in before.gives())
    if tile.enters and (step.waits or before is None):
        late = [port for port in step.staged_inputs if before is None or not port.early]
        loads = tuple(Move(tile, port) for port in late)
        if drained or loads:
            yield Slot(step, None, drained, loads)
        drained = ()
    coming: tuple[Move, ...] = ()
    if after is not None:
        ports = after.needs(tile)
        if after.enters:
            ports = tuple(port for port in ports if port.early)
        coming = tuple(Move(after, port) for port in ports)
    yield Slot(step, tile, drained, coming)
    if after is None and (last := tuple(Move(tile, port) for port in tile.gives())):
        yield Slot(step, None, last, ())


def _tiles(plan: Plan) -> Iterator[Tile]:
    for group in plan.groups:
        alone = len(group.steps) == 1
        for c in range(group.times):
            for step in group.steps:
                outer, inner, depth = _in_order(step, step.tiles)
                for o, i, k in product(range(outer), range(inner), range(depth)):
                    yield Tile(step, group.times, alone, c, *_in_order(step, (o, i, k)))


def _in_order(step: Step, along: tuple[int, int, int]) -> tuple[int, int, int]:
    """(m, n, k) -> (outer, inner, k), and back."""
    m, n, k = along
    return (m, n, k) if step.m_outer else (n, m, k)


def _first_tile(group: Group) -> Tile:
    return Tile(group.steps[0], group.times, len(group.steps) == 1, 0, 0, 0, 0)


def _last_tile(group: Group) -> Tile:
    return _end(group.steps[-1], group, group.times - 1)


def _end(step: Step, group: Group, c: int) -> Tile:
    m, n, k = step.tiles
    return Tile(step, group.times, len(group.steps) == 1, c, m - 1, n - 1, k - 1)


def _previous(group: Group, tile: Tile) -> Tile | None:
    return _neighbour(group, tile, -1)


def _next(group: Group, tile: Tile) -> Tile | None:
    return _neighbour(group, tile, 1)


def _neighbour(group: Group, tile: Tile, way: int) -> Tile | None:
    """Return the tile one turn later or earlier in its group."""
    step = tile.step
    lengths = _in_order(step, step.tiles)
    index = list(_in_order(step, (tile.m, tile.n, tile.k)))
    for loop in (2, 1, 0):
        index[loop] += way
        if 0 <= index[loop] < lengths[loop]:
            m, n, k = _in_order(step, (index[0], index[1], index[2]))
            return tile._replace(m=m, n=n, k=k)
        index[loop] = 0 if way > 0 else lengths[loop] - 1
    number = next(i for i, other in enumerate(group.steps) if other is step) + way
    c = tile.c
    if not 0 <= number < len(group.steps):
        c, number = c + way, number % len(group.steps)
    if not 0 <= c < group.times:
        return None
    if way < 0:
        return _end(group.steps[number], group, c)
    return Tile(group.steps[number], group.times, tile.alone, c, 0, 0, 0)


def _representatives(group: Group, alone: bool | None = None) -> Iterator[tuple[Tile, int]]:
    """Yield tiles that stand for all of a group, each with the number it stands for.

    In a loop of five or more, all turns but the first and the last two are alike: whole tiles with
    whole tiles on both sides.
    """
    single = len(group.steps) == 1 if alone is None else alone
    for step in group.steps:
        loops = (group.times, *_in_order(step, step.tiles))
        for turns in product(*(_turns(length) for length in loops)):
            (c, a), (o, b), (i, d), (k, e) = turns
            index = _in_order(step, (o, i, k))
            yield Tile(step, group.times, single, c, *index), a * b * d * e


def _turns(length: int) -> list[tuple[int, int]]:
    if length < 5:
        return [(turn, 1) for turn in range(length)]
    return [(0, 1), (1, length - 3), (length - 2, 1), (length - 1, 1)]
