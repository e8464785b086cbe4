"""Where in a memory the block of a tile is."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.view import Axis, places
from hwq.plan.layout import whole
from hwq.plan.memory import MemoryName
from hwq.plan.plan import Port
from hwq.plan.slots import Tile

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an axis: `count` elements from the element `start` on."""

    start: int
    count: int
    axis: Axis


@dataclass(frozen=True, slots=True)
class Window:
    """Elements in a memory.

    Parameters
    ----------
    memory : str
    base : int
        Bit address of the element at place 0.
    bits : int
        Width of an element.
    spans : tuple of Span
        One for each axis.
    """

    memory: MemoryName
    base: int
    bits: int
    spans: tuple[Span, ...]

    def addresses(self) -> Int:
        """int64[counts of the spans]: the bit address of every element."""
        offsets: Int = np.zeros((), np.int64)
        for span in self.spans:
            offsets = offsets[..., np.newaxis] + places(span.axis, span.start, span.count)
        return self.base + self.bits * offsets


def packed(memory: MemoryName, base: int, bits: int, shape: tuple[int, ...]) -> Window:
    """Return elements one after another, the last axis fastest."""
    spans = [
        Span(0, count, ((count, prod(shape[axis + 1 :])),)) for axis, count in enumerate(shape)
    ]
    return Window(memory, base, bits, tuple(spans))


def home_window(port: Port, tile: Tile) -> Window:
    """Return what a tile needs of a port, where the tensor lies."""
    parts = _parts(port, tile)
    spans = [Span(*part, axis) for part, axis in zip(parts, port.view.axes, strict=True)]
    base = port.base + port.view.offset * port.bits
    return Window(port.memory, base, port.bits, tuple(spans))


def stage_window(port: Port, tile: Tile, turn: int) -> Window:
    """Return the same on chip: row by row, in one of its places."""
    stage = port.stage
    assert stage is not None
    parts = _parts(port, tile)
    axes = list(range(len(parts)))
    axes.remove(port.row)
    pitch, spans = 1, [Span(0, 1, ())] * len(parts)
    for axis in (port.row, *reversed(axes)):
        count = parts[axis][1]
        moves = port.view.moves(axis)
        spans[axis] = Span(0, count, ((count, pitch if moves else 0),))
        pitch *= count if moves else 1
        if axis == port.row:
            pitch = whole(pitch, stage.quantum)
    base = stage.bases[turn % len(stage.bases)]
    return Window(stage.memory, base, port.bits, tuple(spans))


def once(window: Window) -> Window:
    """Return a window without what it repeats."""
    spans = [
        span if any(stride for _, stride in span.axis) else Span(0, 1, ((1, 0),))
        for span in window.spans
    ]
    return replace(window, spans=tuple(spans))


def _parts(port: Port, tile: Tile) -> list[tuple[int, int]]:
    """Start and count along each axis of a port."""
    step, (m, n, k) = tile.step, tile.extents
    loops = {
        "c": (tile.c, 1),
        "m": (tile.m * step.tile_m, m),
        "n": (tile.n * step.tile_n, n),
        "k": (tile.k * step.tile_k, k),
    }
    shape = port.view.shape
    return [
        (0, shape[axis]) if loop == "all" else loops[loop] for axis, loop in enumerate(port.along)
    ]
