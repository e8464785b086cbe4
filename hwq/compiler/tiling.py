"""Tiles of a matmul under the sizes of the on-chip buffers, and the DRAM traffic they cause.

A tile is a block of M, N and K. The K loop is innermost, so an output tile stays on chip until its
sums are complete and partial sums never go to DRAM; `m_outer` says whether the tiles of M or of N
form the outer loop. Edges are ragged: nothing needs to divide anything.

An operand that changes from tile to tile has two buffers (one is filled while the other is read);
one that stays for the whole layer has one. An operand that is resident on chip takes no buffer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwq.arch.accelerator import Accelerator, Array
from hwq.errors import require
from hwq.numerics.array import Dataflow
from hwq.numerics.unit import ceil_div

KIB_BITS = 8192


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile extents and the order of the two outer loops."""

    tile_m: int
    tile_n: int
    tile_k: int
    m_outer: bool


class Capacities(NamedTuple):
    """Bits that a layer may use of each buffer."""

    activation: int
    weight: int
    output: int


@dataclass(frozen=True, slots=True)
class TileProblem:
    """One matmul layer as the search for tiles sees it.

    Parameters
    ----------
    m, n, k, count : int
        Shape of one instance, and instances executed one after another.
    step_m, step_n, step_k : int
        Granularity of tiles: the array's edge along which the dimension lies.
    a_bits, b_bits : int
        Widths of the codes.
    a_on_chip, b_on_chip : bool
        The operand is resident, so it needs neither a buffer nor DRAM.
    acc_bits : int
        Accumulators of one output, all planes together.
    epilogue_bits : int
        DRAM bits that the epilogue of the whole layer moves: results that do not stay on chip, and
        what fused layers fetch.
    capacities : Capacities
        Buffer space.
    made_rows : int
        Rows of a, the first ones, that are made at the array's edge and never fetched.
    """

    m: int
    n: int
    k: int
    count: int
    step_m: int
    step_n: int
    step_k: int
    a_bits: int
    b_bits: int
    a_on_chip: bool
    b_on_chip: bool
    acc_bits: int
    epilogue_bits: int
    capacities: Capacities
    made_rows: int = 0

    @property
    def fetched_rows(self) -> int:
        """Rows of a that come from memory."""
        return self.m - self.made_rows


def granularity(array: Array, dataflow: Dataflow) -> tuple[int, int, int]:
    """Tile steps of M, N and K: whole folds, so that tiling alone costs no array time.

    The streamed dimension may be cut as well, in steps of the array's rows, but every cut repeats
    the folds' fill and drain.
    """
    if dataflow == "output_stationary":
        return array.rows, array.cols, array.rows
    if dataflow == "weight_stationary":
        return array.rows, array.cols, array.rows
    return array.cols, array.rows, array.rows


def capacities(accelerator: Accelerator, resident_bits: int) -> Capacities:
    """What is left of each buffer beside the resident activations."""
    sram = accelerator.sram
    return Capacities(
        sram.activation.size_bits - resident_bits, sram.weight.size_bits, sram.output.size_bits
    )


def tile_extents(extent: int, step: int) -> list[int]:
    """Each sensible tile of a dimension: for every possible number of tiles, the most even one."""
    units = ceil_div(extent, step)
    counts = {ceil_div(units, size) for size in range(1, units + 1)}
    return [min(ceil_div(units, tiles) * step, extent) for tiles in sorted(counts)]


class TileGrid(NamedTuple):
    """Every tiling of a problem that fits, as columns, with what it costs in bits and loads."""

    tile_m: NDArray[np.int64]
    tile_n: NDArray[np.int64]
    tile_k: NDArray[np.int64]
    m_outer: NDArray[np.bool_]
    a_loads: NDArray[np.int64]
    b_loads: NDArray[np.int64]
    dram_bits: NDArray[np.int64]
    buffer_bits: NDArray[np.int64]

    def tiling(self, row: int) -> Tiling:
        """Row `row` as Python numbers."""
        return Tiling(
            int(self.tile_m[row]),
            int(self.tile_n[row]),
            int(self.tile_k[row]),
            bool(self.m_outer[row]),
        )

    def fewest_dram_bits(self) -> Iterator[int]:
        """Rows whose DRAM traffic is least."""
        least = self.dram_bits.min()
        yield from np.flatnonzero(self.dram_bits == least).tolist()


def fitting_tilings(problem: TileProblem) -> TileGrid:
    """Enumerate the tilings of a problem whose buffers fit.

    Raises
    ------
    SpecError
        Even the smallest tile is too big; the buffer is named.
    """
    p = problem
    axes = np.meshgrid(
        np.array(tile_extents(p.m, p.step_m), np.int64),
        np.array(tile_extents(p.n, p.step_n), np.int64),
        np.array(tile_extents(p.k, p.step_k), np.int64),
        np.array([True, False]),
        indexing="ij",
    )
    tile_m, tile_n, tile_k, m_outer = (axis.ravel() for axis in axes)
    m_outer = m_outer.astype(np.bool_)
    a_loads, b_loads = operand_loads(p, tile_m, tile_n, tile_k, m_outer)
    used = _buffers(p, tile_m, tile_n, tile_k, a_loads, b_loads)
    fits = np.logical_and.reduce(
        [bits <= room for bits, room in zip(used, p.capacities, strict=True)]
    )
    if not fits.any():
        _refuse(p, used)
    dram_bits = p.count * (
        (not p.a_on_chip) * p.fetched_rows * p.k * p.a_bits * a_loads
        + (not p.b_on_chip) * p.k * p.n * p.b_bits * b_loads
    )
    traffic = dram_bits + p.epilogue_bits
    columns = (tile_m, tile_n, tile_k, m_outer, a_loads, b_loads, traffic, sum(used))
    return TileGrid(*(np.asarray(column)[fits] for column in columns))


def operand_loads(
    problem: TileProblem,
    tile_m: NDArray[np.int64],
    tile_n: NDArray[np.int64],
    tile_k: NDArray[np.int64],
    m_outer: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many times the nest brings in all of a and all of b of one instance.

    The operand of the outer loop comes once if its K is whole; otherwise an operand comes once for
    every tile of the dimension that it does not have, unless it is a single tile.
    """
    m_tiles = -(-problem.m // tile_m)
    n_tiles = -(-problem.n // tile_n)
    k_whole = tile_k >= problem.k
    a_once = k_whole & (m_outer | (m_tiles == 1))
    b_once = k_whole & (~m_outer | (n_tiles == 1))
    return np.where(a_once, 1, n_tiles), np.where(b_once, 1, m_tiles)


def _buffers(
    p: TileProblem,
    tile_m: NDArray[np.int64],
    tile_n: NDArray[np.int64],
    tile_k: NDArray[np.int64],
    a_loads: NDArray[np.int64],
    b_loads: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    m_tiles, n_tiles, k_tiles = -(-p.m // tile_m), -(-p.n // tile_n), -(-p.k // tile_k)
    a_copies = np.where(p.count * m_tiles * k_tiles * a_loads > 1, 2, 1)
    b_copies = np.where(p.count * k_tiles * n_tiles * b_loads > 1, 2, 1)
    out_copies = np.where(p.count * m_tiles * n_tiles > 1, 2, 1)
    return (
        (not p.a_on_chip) * a_copies * tile_m * tile_k * p.a_bits,
        (not p.b_on_chip) * b_copies * tile_k * tile_n * p.b_bits,
        out_copies * tile_m * tile_n * p.acc_bits,
    )


def _refuse(p: TileProblem, used: tuple[NDArray[np.int64], ...]) -> None:
    for buffer, bits, room in zip(Capacities._fields, used, p.capacities, strict=True):
        least = int(bits.min())
        require(
            least <= room,
            f"sram.{buffer} must have {least / KIB_BITS:g} KiB free for the smallest tile, "
            f"not {max(room, 0) / KIB_BITS:g}",
        )
    require(False, "the buffers must hold one tile of each operand at the same time")
