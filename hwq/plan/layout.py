"""How tensors lie in memories: in rows, each of which begins at a word of as many lanes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import NamedTuple

from hwq.arch.accelerator import Accelerator
from hwq.compiler.operand import Operand
from hwq.compiler.view import Axis, Level, View, joined
from hwq.errors import require
from hwq.numerics.units import UNITS


class Grid(NamedTuple):
    """What addresses are multiples of.

    Parameters
    ----------
    lanes : int
        Elements of a word of the vector unit.
    beat_bits : int
        Bits that move at once between DRAM and a buffer.
    """

    lanes: int
    beat_bits: int

    @classmethod
    def of(cls, accelerator: Accelerator) -> "Grid":
        """Return that of a machine: a beat is a word of its weight buffer."""
        return cls(accelerator.vector_unit.lanes, accelerator.sram.weight.width_bits)

    def quantum(self, bits: int) -> int:
        """Elements of the shortest run that is whole words of lanes, and whole beats."""
        return self.lanes * self.beat_bits // gcd(self.beat_bits, self.lanes * bits)

    def width(self, operand: Operand) -> int:
        """Bits of a stored element; parameters of every unit have as many."""
        return self.parameter_bits if operand.is_table else operand.bits

    @property
    def parameter_bits(self) -> int:
        """Room of what a channel has of its own: a word of lanes is whole beats."""
        step = self.beat_bits // gcd(self.beat_bits, self.lanes)
        return whole(max(unit.parameter_bits for unit in UNITS.values()), step)


class Dimension(NamedTuple):
    """So many elements, `stride` apart in the tensor, and `pitch` apart in memory."""

    extent: int
    stride: int
    pitch: int


@dataclass(frozen=True)
class Layout:
    """Where the elements of a tensor are, in elements from its first.

    Parameters
    ----------
    dimensions : tuple of Dimension
        Ordered by their strides, the outermost first; each stride is the elements of all inside.
    size : int
        Room of the whole tensor, in elements.
    """

    dimensions: tuple[Dimension, ...]
    size: int

    @classmethod
    def of(cls, order: View, grain: int) -> "Layout":
        """Return that of a tensor stored axis by axis, rows along the last in steps of `grain`."""
        dimensions, pitch = [], 1
        for number, axis in enumerate(reversed(order.axes)):
            for count, stride in reversed(axis):
                dimensions.append(Dimension(count, stride, pitch))
                pitch *= count
            if number == 0:
                pitch = whole(pitch, grain)
        by_stride = sorted(dimensions, key=lambda dimension: -dimension.stride)
        return cls(tuple(by_stride), pitch)

    def view(self, view: View) -> View:
        """Return where the elements of a view of the tensor are.

        Raises
        ------
        SpecError
            If they do not lie in nested strides.
        """
        most = [0] * len(self.dimensions)
        offset, left = 0, view.offset
        for number, dimension in enumerate(self.dimensions):
            digit, left = divmod(left, dimension.stride)
            most[number] += digit
            offset += digit * dimension.pitch
        axes = tuple(self._axis(axis, most) for axis in view.axes)
        inside = all(m < d.extent for m, d in zip(most, self.dimensions, strict=True))
        require(inside and not left, "elements of a row must not run into the next")
        return View(offset, axes)

    def _axis(self, axis: Axis, most: list[int]) -> Axis:
        levels: list[Level] = []
        for count, stride in axis:
            levels += [(count, 0)] if stride == 0 else self._levels(count, stride, most)
        return joined(levels)

    def _levels(self, count: int, stride: int, most: list[int]) -> list[Level]:
        """Return a level in memory: of several dimensions, if it goes through one."""
        fits = (i for i, d in enumerate(self.dimensions) if stride % d.stride == 0)
        number = next(fits, None)
        require(number is not None, f"no elements are {stride} apart")
        assert number is not None
        dimension = self.dimensions[number]
        step = stride // dimension.stride
        if (count - 1) * step < dimension.extent:
            most[number] += (count - 1) * step
            return [(count, step * dimension.pitch)]
        inner = dimension.extent // step
        require(
            number > 0 and inner * step == dimension.extent and count % inner == 0,
            f"{count} elements {stride} apart do not lie in nested strides",
        )
        most[number] += (inner - 1) * step
        outer = self._levels(count // inner, dimension.stride * dimension.extent, most)
        return [*outer, (inner, step * dimension.pitch)]


def stored_order(written: Sequence[Operand], read: Sequence[Operand]) -> View:
    """Return the axes along which a tensor is stored, the last one being its rows.

    What a layer writes is stored as it writes it. What is there from the beginning is stored as it
    is read: operand b of a product with its rows along N, an image patch by patch.
    """
    size = (*written, *read)[0].size
    dense = View(0, (((size, 1),) if size > 1 else (),))
    if written:
        row = written[0].view.shape[-1] if len(written[0].along) > 1 else size
        if size % row:
            return dense
        return View.contiguous((size // row, row))
    # a product comes first
    reader = min(read, key=lambda operand: "k" not in operand.along)
    axes = [tuple(level for level in axis if level[1]) for axis in reader.view.axes]
    # rows of one element are rows
    moving = (*(axis for axis in axes[:-1] if axis), axes[-1])
    levels = sorted((level for axis in moving for level in axis), key=lambda level: level[1])
    nested = all(
        stride == prod(n for n, _ in levels[:number]) for number, (_, stride) in enumerate(levels)
    )
    once = nested and prod(n for n, _ in levels) == size
    return View(0, moving) if once else dense


def whole(count: int, step: int) -> int:
    """Return `count` rounded up to a multiple of `step`."""
    return -(-count // step) * step
