"""How a tensor is read in place: addresses instead of moved data.

Along each axis of a view, elements lie in nested strides: an axis that a reshape made of two others
has two. Permuting, slicing or repeating a tensor makes another view of the same memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwq.errors import SpecError, require

Level = tuple[int, int]
"""How often, and how many elements apart."""

Axis = tuple[Level, ...]
"""Levels of one axis, the outermost first."""


@dataclass(frozen=True, slots=True)
class View:
    """Elements of a stored tensor, as axes of nested strides.

    Parameters
    ----------
    offset : int
        Place of the first element, in elements of the tensor.
    axes : tuple of Axis
        An axis without levels has one element.
    """

    offset: int
    axes: tuple[Axis, ...]

    @classmethod
    def contiguous(cls, shape: Sequence[int]) -> "View":
        """All of a tensor as it is stored: the last axis fastest."""
        return cls(0, tuple(_levels((n, prod(shape[i + 1 :])) for i, n in enumerate(shape))))

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each axis."""
        return tuple(extent(axis) for axis in self.axes)

    @property
    def elements(self) -> int:
        """Elements that differ: what is repeated counts once."""
        return prod(n for axis in self.axes for n, stride in axis if stride)

    @property
    def last(self) -> int:
        """Place of the last element in memory."""
        return self.offset + sum((n - 1) * stride for axis in self.axes for n, stride in axis)

    def moves(self, axis: int) -> bool:
        """Whether other elements come along an axis, or the same ones again."""
        return any(stride for _, stride in self.axes[axis])

    def places(self, axis: int, start: int, count: int) -> NDArray[np.int64]:
        """int64[count]: how far elements from `start` on are from the first one of an axis."""
        return places(self.axes[axis], start, count)

    def reshape(self, shape: Sequence[int]) -> "View":
        """Other axes over the same elements in the same order.

        Raises
        ------
        SpecError
            If the elements of a new axis do not lie in nested strides.
        """
        require(prod(shape) == prod(self.shape), f"a view of {self.shape} does not become {shape}")
        levels = [level for axis in self.axes for level in axis]
        axes = []
        for wanted in reversed(shape):
            axis: list[Level] = []
            while wanted > 1:
                n, stride = levels.pop()
                taken = min(n, wanted)
                require(
                    n % taken == 0 and wanted % taken == 0,
                    f"{n} elements at stride {stride} do not divide into an axis of {wanted}",
                )
                if taken < n:
                    levels.append((n // taken, stride * taken))
                axis.append((taken, stride))
                wanted //= taken
            axes.append(joined(axis[::-1]))
        return View(self.offset, tuple(axes[::-1]))

    def permute(self, axes: Sequence[int]) -> "View":
        """Axes in another order."""
        return View(self.offset, tuple(self.axes[axis] for axis in axes))

    def slice(self, axis: int, start: int, stop: int) -> "View":
        """Return elements start..stop-1 of an axis.

        Raises
        ------
        SpecError
            If the part does not lie in nested strides.
        """
        offset, cut = self.offset + int(self.places(axis, start, 1)[0]), stop - start
        levels = self.axes[axis]
        inner = prod(n for n, _ in levels[1:])
        if cut == extent(levels):
            part = levels
        elif len(levels) <= 1 or (start % inner == 0 and cut % inner == 0):
            part = ((cut // inner, levels[0][1]), *levels[1:])
        elif start // inner == (stop - 1) // inner:
            rest = View(0, (levels[1:],)).slice(0, start % inner, start % inner + cut)
            part = rest.axes[0]
        else:
            raise SpecError(f"elements {start}..{stop - 1} of {levels} are no nested strides")
        return View(offset, (*self.axes[:axis], joined(part), *self.axes[axis + 1 :]))

    def select(self, axis: int, index: int) -> "View":
        """Return one element of an axis, which goes."""
        offset = self.offset + int(self.places(axis, index, 1)[0])
        return View(offset, (*self.axes[:axis], *self.axes[axis + 1 :]))

    def expand(self, shape: Sequence[int]) -> "View":
        """Repeat along new axes and along axes of one element, as numpy broadcasts."""
        axes = [()] * (len(shape) - len(self.axes)) + list(self.axes)
        repeated = [
            axis if extent(axis) == n else ((n, 0),) for axis, n in zip(axes, shape, strict=True)
        ]
        return View(self.offset, tuple(repeated))


def places(axis: Axis, start: int, count: int) -> NDArray[np.int64]:
    """int64[count]: how far elements from `start` on are from the first one of an axis."""
    index = np.arange(start, start + count, dtype=np.int64)
    place = np.zeros(count, np.int64)
    for n, stride in reversed(axis):
        index, digit = np.divmod(index, n)
        place += digit * stride
    return place


def extent(axis: Axis) -> int:
    """Elements along an axis."""
    return prod(n for n, _ in axis)


def _levels(pairs: Iterable[Level]) -> list[Axis]:
    return [((n, stride),) if n > 1 else () for n, stride in pairs]


def joined(levels: Sequence[Level]) -> Axis:
    """Levels without those of one element; neighbours that are one stride are one level."""
    result: list[Level] = []
    for n, stride in levels:
        if n == 1:
            continue
        if result and result[-1][1] == n * stride:
            result[-1] = (result[-1][0] * n, stride)
        else:
            result.append((n, stride))
    return tuple(result)
