"""When the tiles of a layer are computed and moved, with two buffers for everything that changes.

While a tile is computed, the next one is loaded and the results of the one before are stored; they
share the DRAM bus. A tile takes `compute + max(0, transfer - compute)` cycles, the layer the sum of
that plus its first load and its last store. The DRAM's latency is not modelled.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from hwq.compiler.tiling import TileProblem, Tiling, fitting_tilings
from hwq.numerics.unit import ceil_div

TileCycles = Callable[[int, int, int], int]
"""Array cycles of a tile of extents m, n, k."""

Index = tuple[int, int, int, int]
"""Instance, outer tile, inner tile, tile of K."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A layer in time.

    Parameters
    ----------
    cycles : int
        From the first load to the last store.
    compute_cycles : int
        The time for which its resource works.
    tiling : Tiling
    loads : tuple of int
        How often all of a and all of b come from DRAM, if they do not reside on chip.
    dram_bits : int
        Everything that crossed the DRAM bus.
    buffer_bits : int
        What the tiles occupy on chip.
    """

    cycles: int
    compute_cycles: int
    tiling: Tiling
    loads: tuple[int, int]
    dram_bits: int
    buffer_bits: int


def transfer_cycles(bits: int, bits_per_cycle: Fraction) -> int:
    """Cycles of the DRAM bus for `bits`, rounded up."""
    return ceil_div(bits * bits_per_cycle.denominator, bits_per_cycle.numerator)


def best_schedule(
    problem: TileProblem,
    tile_cycles: TileCycles,
    bits_per_cycle: Fraction,
    correction: int = 0,
) -> Schedule:
    """Find the tiling with the fewest DRAM bits, of these the fastest, of these the smallest.

    The search is exact: candidates are tried in the order of a lower bound of their cycles until
    the bound exceeds the best found.

    Parameters
    ----------
    problem : TileProblem
    tile_cycles : callable
        Array cycles of one tile.
    bits_per_cycle : Fraction
        Bandwidth of the DRAM bus.
    correction : int
        Cycles that the timing convention leaves out per instance.
    """
    grid = fitting_tilings(problem)
    bounds = []
    nests = {}
    for row in grid.fewest_dram_bits():
        nest = nests[row] = _Nest(
            problem, grid.tiling(row), tile_cycles, bits_per_cycle, correction
        )
        bound = nest.lower_bound(int(grid.dram_bits[row]))
        bounds.append((bound, int(grid.buffer_bits[row]), row))
    bounds.sort()
    _, size, row = bounds[0]
    best = (nests[row].cycles(), size, row)
    for bound, size, row in bounds[1:]:
        if bound > best[0]:
            break
        best = min(best, (nests[row].cycles(), size, row))
    cycles, size, row = best
    return Schedule(
        cycles,
        nests[row].compute_cycles(),
        grid.tiling(row),
        (int(grid.a_loads[row]), int(grid.b_loads[row])),
        int(grid.dram_bits[row]),
        size,
    )


def stream_cycles(
    rows: int, busy_cycles: int, load_bits: int, store_bits: int, bits_per_cycle: Fraction
) -> int:
    """Cycles of a vector layer that works row by row, with two buffers for one row each way."""
    first, last = ceil_div(load_bits, rows), ceil_div(store_bits, rows)
    between = load_bits + store_bits - first - last
    return (
        transfer_cycles(first, bits_per_cycle)
        + max(busy_cycles, transfer_cycles(between, bits_per_cycle))
        + transfer_cycles(last, bits_per_cycle)
    )


class _Nest:
    """The four loops over instances and tiles of one tiling."""

    def __init__(
        self,
        problem: TileProblem,
        tiling: Tiling,
        tile_cycles: TileCycles,
        bits_per_cycle: Fraction,
        correction: int,
    ) -> None:
        self.problem, self.tiling = problem, tiling
        self._tile_cycles, self._correction = tile_cycles, correction
        self._bits_per_cycle = bits_per_cycle
        m_tiles = ceil_div(problem.m, tiling.tile_m)
        n_tiles = ceil_div(problem.n, tiling.tile_n)
        k_tiles = ceil_div(problem.k, tiling.tile_k)
        middle = (m_tiles, n_tiles) if tiling.m_outer else (n_tiles, m_tiles)
        self._lengths: Index = (problem.count, *middle, k_tiles)
        self._last: Index = (problem.count - 1, middle[0] - 1, middle[1] - 1, k_tiles - 1)

    def compute_cycles(self) -> int:
        """Array time of all tiles."""
        p, t = self.problem, self.tiling
        per_instance = sum(
            m_tiles * n_tiles * k_tiles * self._tile_cycles(m, n, k)
            for (m, m_tiles), (n, n_tiles), (k, k_tiles) in product(
                _kinds(p.m, t.tile_m), _kinds(p.n, t.tile_n), _kinds(p.k, t.tile_k)
            )
        )
        return p.count * (per_instance - self._correction)

    def lower_bound(self, dram_bits: int) -> int:
        """Cycles if neither array nor bus ever waited between the first load and last store."""
        first, last = self._load_bits((0, 0, 0, 0), None), self._store_bits(self._last)
        between = self._transfer(dram_bits - first - last)
        return self._transfer(first) + max(self.compute_cycles(), between) + self._transfer(last)

    def cycles(self) -> int:
        """First load, every tile's larger of computing and moving, last store."""
        total = self._transfer(self._load_bits((0, 0, 0, 0), None))
        for index, times in _representatives(self._lengths):
            before, after = self._before(index), self._after(index)
            moved = self._load_bits(after, index) if after is not None else 0
            if before is not None and index[3] == 0:
                moved += self._store_bits(before)
            compute = self._tile_cycles(*self._extents(index))
            if index[1:] == self._last[1:]:
                compute -= self._correction
            total += times * max(compute, self._transfer(moved))
        return total + self._transfer(self._store_bits(self._last))

    def _transfer(self, bits: int) -> int:
        return transfer_cycles(bits, self._bits_per_cycle)

    def _tiles(self, index: Index) -> tuple[int, int, int]:
        """Tile numbers along m, n, k."""
        _, outer, inner, k = index
        return (outer, inner, k) if self.tiling.m_outer else (inner, outer, k)

    def _extents(self, index: Index) -> tuple[int, int, int]:
        p, t = self.problem, self.tiling
        m, n, k = self._tiles(index)
        return (
            min(t.tile_m, p.m - m * t.tile_m),
            min(t.tile_n, p.n - n * t.tile_n),
            min(t.tile_k, p.k - k * t.tile_k),
        )

    def _load_bits(self, index: Index, before: Index | None) -> int:
        """DRAM bits that the tile at `index` needs and the tile before it did not have."""
        p = self.problem
        tile_m, tile_n, tile_k = self._extents(index)
        m, n, k = self._tiles(index)
        old = (-1, -1, -1) if before is None else self._tiles(before)
        moved = before is None or before[0] != index[0]
        bits = 0
        if not p.a_on_chip and (moved or (m, k) != (old[0], old[2])):
            rows = min(tile_m, max(p.fetched_rows - m * self.tiling.tile_m, 0))
            bits += rows * tile_k * p.a_bits
        if not p.b_on_chip and (moved or (n, k) != (old[1], old[2])):
            bits += tile_k * tile_n * p.b_bits
        return bits

    def _store_bits(self, index: Index) -> int:
        """The share of the epilogue's DRAM bits that the finished output tile moves."""
        p = self.problem
        tile_m, tile_n, _ = self._extents(index)
        return ceil_div(p.epilogue_bits * tile_m * tile_n, p.count * p.m * p.n)

    def _before(self, index: Index) -> Index | None:
        return _neighbour(index, self._lengths, -1)

    def _after(self, index: Index) -> Index | None:
        return _neighbour(index, self._lengths, 1)


def _neighbour(index: Index, lengths: Index, step: int) -> Index | None:
    """The index one step later or earlier in the nest, last loop fastest."""
    moved = list(index)
    for loop in (3, 2, 1, 0):
        moved[loop] += step
        if 0 <= moved[loop] < lengths[loop]:
            return moved[0], moved[1], moved[2], moved[3]
        moved[loop] = 0 if step > 0 else lengths[loop] - 1
    return None


def _representatives(lengths: Index) -> Iterator[tuple[Index, int]]:
    """Indices that stand for all steps of the nest, each with the number of steps it stands for.

    In a loop of five or more, all steps but the first and the last two are alike: whole tiles with
    whole tiles on both sides.
    """
    loops = []
    for length in lengths:
        if length < 5:
            loops.append([(i, 1) for i in range(length)])
        else:
            loops.append([(0, 1), (1, length - 3), (length - 2, 1), (length - 1, 1)])
    for (c, tc), (o, to), (i, ti), (k, tk) in product(*loops):
        yield (c, o, i, k), tc * to * ti * tk


def _kinds(extent: int, tile: int) -> list[tuple[int, int]]:
    """Whole and ragged tiles of a dimension, each with its number."""
    whole, rest = divmod(extent, tile)
    return [(size, times) for size, times in ((tile, whole), (rest, 1)) if size and times]
