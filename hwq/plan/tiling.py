"""Tiles of a step under the sizes of the on-chip buffers, and the DRAM traffic they cause.

A tile is a block of M, N and K. The K loop is innermost, so that a tile's sums stay on chip until
they are complete. Edges are ragged: nothing needs to divide anything. A block that comes or goes
more than once has two places on chip, one that is filled while the other is used.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwq.arch.accelerator import Array
from hwq.arch.systolic import timing_correction
from hwq.errors import SpecError
from hwq.numerics.array import Dataflow
from hwq.numerics.unit import ceil_div
from hwq.plan.memory import BUFFERS, Memory, MemoryName
from hwq.plan.plan import Port, Step
from hwq.plan.slots import lone_kinds
from hwq.plan.timing import Timer

KIB_BITS = 8192
_MOST = np.iinfo(np.int64).max

Int = NDArray[np.int64]
Rooms = Mapping[MemoryName, int]
"""Free bits of each buffer."""


class Grain(NamedTuple):
    """Steps in which m, n, k may be cut."""

    m: int
    n: int
    k: int


def array_grain(array: Array, dataflow: Dataflow) -> Grain:
    """Whole folds, so that tiling alone costs no array time.

    The streamed dimension may be cut as well, in steps of the array's rows, but every cut repeats
    the folds' fill and drain.
    """
    if dataflow == "input_stationary":
        return Grain(array.columns, array.rows, array.rows)
    return Grain(array.rows, array.columns, array.rows)


def tile_extents(size: int, grain: int) -> list[int]:
    """Each sensible tile of a dimension: for every possible number of tiles, the most even one."""
    units = ceil_div(size, grain)
    counts = {ceil_div(units, tile) for tile in range(1, units + 1)}
    return [min(ceil_div(units, tiles) * grain, size) for tiles in sorted(counts)]


def tile_choices(step: Step, grain: Grain) -> tuple[list[int], list[int], list[int]]:
    """Return the tiles of m, n and k, of which each lies in nested strides.

    An axis of heads and what is in a head is cut into parts of a head, or into whole heads.
    """

    def choices(loop: str, size: int, cut: int) -> list[int]:
        inner = {
            prod(n for n, _ in levels[number:])
            for port in step.ports
            for axis, levels in enumerate(port.view.axes)
            for number in range(1, len(levels))
            if port.along[axis] == loop
        }
        parts = [part for part in inner if part % cut == 0]
        return [
            tile
            for tile in tile_extents(size, cut)
            if all(part % tile == 0 or tile % part == 0 or tile == size for part in parts)
        ]

    m, n, k = (
        choices(loop, size, cut)
        for loop, size, cut in zip("mnk", (step.m, step.n, step.k), grain, strict=True)
    )
    return m, n, k


def choose_tiles(
    step: Step,
    times: int,
    alone: bool,
    grain: Grain,
    memories: Mapping[MemoryName, Memory],
    rooms: Rooms,
    timer: Timer,
) -> Step:
    """Return the step with the tiles of fewest DRAM bits, of these the fastest, then smallest.

    The search is exact: tilings are counted in the order of a lower bound of their cycles, until
    the bound exceeds the best.

    Raises
    ------
    SpecError
        Even the smallest tile is too big; the buffer is named.
    """
    trials = [
        _Grid.of(replace(step, m_outer=outer), times, alone, grain, memories)
        for outer in (True, False)
    ]
    fits = [
        np.logical_and.reduce([grid.used[name] <= rooms[name] for name in BUFFERS])
        for grid in trials
    ]
    if not np.any(fits):
        raise _refusal(trials, rooms)
    least = min(
        grid.dram_bits[fit].min(initial=_MOST) for grid, fit in zip(trials, fits, strict=True)
    )
    best: tuple[int, int, Step] | None = None
    for grid, fit in zip(trials, fits, strict=True):
        rows = np.flatnonzero(fit & (grid.dram_bits == least))
        sizes = np.sum([grid.used[name][rows] for name in BUFFERS], axis=0)
        bounds = grid.lower_bounds(rows, timer)
        for index in np.lexsort((sizes, bounds)).tolist():
            # no later tiling can be better: bounds rise, and sizes among equal ones
            if best is not None and (bounds[index], sizes[index]) >= best[:2]:
                break
            trial, size = grid.step(int(rows[index])), int(sizes[index])
            slots = lone_kinds(trial, times, alone)
            cycles = sum(number * timer.slot_cycles(slot) for slot, number in slots)
            if best is None or (cycles, size) < best[:2]:
                best = cycles, size, trial
    assert best is not None
    return best[2]


def stage_bits(port: Port, step: Step, memory: Memory) -> int:
    """Room of one block, in whole words of its memory."""
    bits = port.block_bits(step.tile_m, step.tile_n, step.tile_k)
    return int(memory.room(bits))


def sums_bits(step: Step, memory: Memory) -> int:
    """Room of a tile's sums in the output buffer, in whole words."""
    if step.product is None:
        return 0
    bits = step.product.tile_sums_bits(step.tile_m, step.tile_n)
    return int(memory.room(bits))


def copies(port: Port, step: Step, times: int, alone: bool) -> int:
    """How many places a staged port has: two if its blocks change."""
    turns, _ = _turns(port, step, times, alone, step.tiles)
    return 2 if turns > 1 else 1


def _turns(
    port: Port,
    step: Step,
    times: int,
    alone: bool,
    tiles: tuple[int | Int, int | Int, int | Int],
) -> tuple[Int, Int]:
    """How many blocks of a port come or go, and how often each element does.

    The innermost loop that changes the block, and all loops around it, bring another one. Where
    other steps come between instances, so does each instance.
    """
    by_c, by_m, by_n, by_k = port.moves
    m, n, k = tiles
    loops = [(m, by_m), (n, by_n)] if step.m_outer else [(n, by_n), (m, by_m)]
    loops = [(times, by_c), *loops, (k, by_k)]
    if "all" in port.along and any(port is out for out in step.outputs):
        loops = []  # it goes when the step ends
    turns, repeats, changed = np.asarray(1), np.asarray(1), np.asarray(False)
    for loop, (length, moves) in reversed([*enumerate(loops)]):
        changed = changed | (moves & (np.asarray(length) > 1)) | (loop == 0 and not alone)
        turns = turns * np.where(changed, length, 1)
        if not moves:
            repeats = repeats * np.where(changed, length, 1)
    return turns, repeats


class _Grid:
    """Every tiling of one order of the loops, as columns, with what it needs and costs."""

    def __init__(
        self,
        step: Step,
        times: int,
        alone: bool,
        tile: tuple[Int, Int, Int],
        memories: Mapping[MemoryName, Memory],
    ) -> None:
        self._step, self._times, self._alone, self.tile = step, times, alone, tile
        sizes = step.m, step.n, step.k
        tiles = tuple(-(-size // t) for size, t in zip(sizes, tile, strict=True))
        self.tiles: tuple[Int, Int, Int] = (tiles[0], tiles[1], tiles[2])
        self.dram_bits = np.zeros(tile[0].size, np.int64)
        self.used = {name: np.zeros(tile[0].size, np.int64) for name in BUFFERS}
        self._first = np.zeros(tile[0].size, np.int64)
        self._last = np.zeros(tile[0].size, np.int64)
        self._loads = np.zeros(tile[0].size, np.int64)
        if step.product is not None:
            bits = (tile[0] + step.product.column_sums) * tile[1] * step.product.sum_bits
            self.used["output"] += memories["output"].room(bits)
        for port in step.ports:
            if port.stage is not None:
                self._add(port, memories[port.stage.memory])

    @classmethod
    def of(
        cls,
        step: Step,
        times: int,
        alone: bool,
        grain: Grain,
        memories: Mapping[MemoryName, Memory],
    ) -> "_Grid":
        """Return the grid of all combinations."""
        extents = tile_choices(step, grain)
        m, n, k = (axis.ravel() for axis in np.meshgrid(*map(np.array, extents), indexing="ij"))
        return cls(step, times, alone, (m, n, k), memories)

    def _add(self, port: Port, memory: Memory) -> None:
        assert port.stage is not None
        turns, repeats = _turns(port, self._step, self._times, self._alone, self.tiles)
        block = port.block_bits(*self.tile)
        whole = port.block_bits(self._step.m, self._step.n, self._step.k)
        by_c = port.moves[0]
        self.dram_bits += whole * repeats * (self._times if by_c else 1)
        self.used[port.stage.memory] += memory.room(block) * np.where(turns > 1, 2, 1)
        if port in self._step.inputs:
            self._first += block
            self._loads += turns
        else:
            rest = [
                size - (count - 1) * t
                for size, count, t in zip(
                    (self._step.m, self._step.n, self._step.k), self.tiles, self.tile, strict=True
                )
            ]
            self._last += port.block_bits(*rest)

    def step(self, row: int) -> Step:
        """Return the step with the tiles of one row."""
        m, n, k = (int(axis[row]) for axis in self.tile)
        return replace(self._step, tile_m=m, tile_n=n, tile_k=k)

    def lower_bounds(self, rows: Int, timer: Timer) -> Int:
        """Cycles if neither resource ever waited between the first load and the last store."""
        first, last = self._first[rows], self._last[rows]
        between = self.dram_bits[rows] - first - last
        bus = [_transfer(bits, timer) for bits in (first, between, last)]
        bus[1] += timer.accelerator.dram.latency_cycles * self._loads[rows]
        compute = self._array_cycles(rows, timer) if self._step.product else 0
        compute = compute - self._times * timing_correction(timer.timing)
        tiles = self._times * self.tiles[0][rows] * self.tiles[1][rows]
        compute = compute + tiles * timer.tail_cycles(self._step)
        bound: Int = bus[0] + np.maximum(compute, bus[1]) + bus[2]
        return bound

    def _array_cycles(self, rows: Int, timer: Timer) -> Int:
        step = self._step
        total = np.zeros(len(rows), np.int64)
        sizes = []
        for size, tile, count in zip((step.m, step.n, step.k), self.tile, self.tiles, strict=True):
            t, whole = tile[rows], count[rows] - 1
            sizes.append(((t, whole), (size - whole * t, np.ones_like(whole))))
        for (m, m_tiles), (n, n_tiles), (k, k_tiles) in product(*sizes):
            total += m_tiles * n_tiles * k_tiles * timer.array_cycles(step, m, n, k)
        return total * self._times


def _transfer(bits: Int, timer: Timer) -> Int:
    """Bandwidth only, rounded down: a bound."""
    rate = timer.rate
    cycles: Int = np.floor(bits * (rate.denominator / rate.numerator)).astype(np.int64)
    return cycles


def _refusal(trials: list[_Grid], rooms: Rooms) -> SpecError:
    for name in BUFFERS:
        least = min(int(grid.used[name].min()) for grid in trials)
        if least > rooms[name]:
            return SpecError(
                f"sram.{name} must have {least / KIB_BITS:g} KiB free for the smallest tile, "
                f"not {max(rooms[name], 0) / KIB_BITS:g}"
            )
    return SpecError("the buffers must hold one tile of each operand at the same time")
