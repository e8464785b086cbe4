"""The commands of a plan: its slots unrolled, with the address of everything that is touched."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.operand import Table
from hwq.errors import require
from hwq.plan.bit_memory import BitMemory
from hwq.plan.memory import MEMORIES, Home, MemoryName
from hwq.plan.plan import Plan, Port, Step
from hwq.plan.slots import Move, Tile, unroll
from hwq.plan.window import Window, home_window, once, packed, stage_window

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy a block between DRAM and a buffer, element by element in the order of both windows.

    Parameters
    ----------
    source, target : Window
    bits : int
        What crosses the bus: whole beats.
    """

    source: Window
    target: Window
    bits: int


@dataclass(frozen=True, slots=True)
class Multiply:
    """Add a tile's products to its sums.

    Parameters
    ----------
    layer : int
        Number of the product among the layers of the plan.
    origin : tuple of int
        First row, counted over all instances, and column of the tile.
    a, b : Window
        [1, m, k] and [1, k, n].
    sums : Window
        [rows, n, planes] in the output buffer; the first row is that of the column sums, if any.
    first : bool
        There are no sums yet.
    complete : bool
        The sums stream out, and are stored at `writes` if anything reads them later.
    writes : Window or None
    """

    layer: int
    origin: tuple[int, int]
    a: Window
    b: Window
    sums: Window
    first: bool
    complete: bool
    writes: Window | None


@dataclass(frozen=True, slots=True)
class Apply:
    """Let a unit work on a tile.

    Parameters
    ----------
    layer : int
        Number of the pass among the layers of the plan.
    origin : tuple of int
        First row, counted over all instances, and column of the tile.
    size : tuple of int
        Its rows and columns.
    reads : tuple of Window or None
        Operands; None for what streams out of the array or an earlier pass.
    writes : Window or None
        None for what only streams on.
    last : bool
        It is the last tile of the layer.
    """

    layer: int
    origin: tuple[int, int]
    size: tuple[int, int]
    reads: tuple[Window | None, ...]
    writes: Window | None
    last: bool


@dataclass(frozen=True, slots=True)
class SlotCommands:
    """What happens in one slot."""

    work: tuple[Multiply | Apply, ...]
    transfers: tuple[Transfer, ...]


def layer_names(plan: Plan) -> list[str]:
    """Return the layers in the order in which commands number them."""
    return [name for group in plan.groups for step in group.steps for name in _names(step)]


def commands(plan: Plan) -> Iterator[SlotCommands]:
    """Yield the commands of each slot in order of time."""
    return _Emitter(plan).run()


def home_addresses(home: Home) -> Int:
    """int64[elements]: the bit address of every element of a home."""
    return home.base + home.bits * (home.view.offset + home.view.places(0, 0, home.elements))


def memory_images(
    plan: Plan, constants: Mapping[str, NDArray[Any] | Table]
) -> dict[MemoryName, BitMemory]:
    """Return all memories before the image: constants, and zeros.

    Parameters
    ----------
    plan : Plan
    constants : mapping of str to array or Table
        Of the program.

    Raises
    ------
    SpecError
        If a constant does not fit its width.
    """
    memories = {name: BitMemory(plan.memory(name).bits) for name in MEMORIES}
    for home in plan.homes:
        if home.tensor not in constants:
            continue
        value, memory = constants[home.tensor], memories[home.memory]
        addresses = home_addresses(home)
        try:
            if isinstance(value, Table):
                names = [part.name for part in value.fields]
                words = dict(zip(names, value.values, strict=True))
                memory.write_words(addresses, words, value.fields)
            else:
                signed = value.dtype.kind == "i"
                memory.write(addresses, value.ravel().astype(np.int64), home.bits, signed)
        except ValueError as error:
            require(False, f"{home.tensor}: {error}")
    return memories


def _names(step: Step) -> list[str]:
    product = [step.product.name] if step.product else []
    return product + [work.name for work in step.passes]


class _Emitter:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._layer = {name: number for number, name in enumerate(layer_names(plan))}
        self._loaded: dict[tuple[int, str], int] = {}
        self._made: dict[tuple[int, str], int] = {}

    def run(self) -> Iterator[SlotCommands]:
        for slot in unroll(self._plan):
            stores = [self._store(move) for move in slot.stores]
            work = () if slot.tile is None else tuple(self._work(slot.tile))
            loads = [self._load(move) for move in slot.loads]
            yield SlotCommands(work, (*stores, *loads))

    def _load(self, move: Move) -> Transfer:
        key = id(move.tile.step), move.port.name
        count = 0 if move.tile.enters else self._loaded[key]
        self._loaded[key] = count + 1
        return Transfer(*_windows(move, count), move.bits)

    def _store(self, move: Move) -> Transfer:
        count = self._made[id(move.tile.step), move.port.name] - 1
        home, stage = _windows(move, count)
        return Transfer(stage, home, move.bits)

    def _read(self, tile: Tile, port: Port) -> Window:
        if port.stage is None:
            return home_window(port, tile)
        return stage_window(port, tile, self._loaded[id(tile.step), port.name] - 1)

    def _write(self, tile: Tile, tensor: str) -> Window | None:
        for port in tile.step.outputs:
            if port.tensor != tensor or (port not in tile.gives() and port.stage):
                continue
            if port.stage is None:
                return home_window(port, tile)
            key = id(tile.step), port.name
            count = self._made.get(key, 0)
            self._made[key] = count + 1
            return stage_window(port, tile, count)
        return None

    def _work(self, tile: Tile) -> Iterator[Multiply | Apply]:
        step, (m, n, _) = tile.step, tile.extents
        if step.product is not None:
            yield self._multiply(tile)
            if not tile.completes:
                return
        ports = {port.name: port for port in step.inputs}
        for work in step.passes:
            reads = [
                self._read(tile, ports[name]) if name in ports else None for name in work.reads
            ]
            yield Apply(
                self._layer[work.name],
                _origin(tile),
                (m, n),
                tuple(reads),
                self._write(tile, work.writes),
                tile.ends_step,
            )

    def _multiply(self, tile: Tile) -> Multiply:
        step, (m, n, _) = tile.step, tile.extents
        product = step.product
        assert product is not None
        a, b = step.inputs[:2]
        shape = m + product.column_sums, n, product.pe.planes
        sums = packed("output", product.sums_base, product.pe.acc_bits, shape)
        return Multiply(
            self._layer[product.name],
            _origin(tile),
            self._read(tile, a),
            self._read(tile, b),
            sums,
            tile.k == 0,
            tile.completes,
            self._write(tile, product.writes) if tile.completes else None,
        )


def _origin(tile: Tile) -> tuple[int, int]:
    step = tile.step
    return tile.c * step.m + tile.m * step.tile_m, tile.n * step.tile_n


def _windows(move: Move, turn: int) -> tuple[Window, Window]:
    """Return where a block is in DRAM and on chip, without what is repeated."""
    home, stage = home_window(move.port, move.tile), stage_window(move.port, move.tile, turn)
    return once(home), once(stage)
