"""A tensor as a layer of a program reads or writes it, and words of parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.view import View
from hwq.errors import require
from hwq.numerics.unit import Field
from hwq.numerics.units import UNITS

_MAX_BITS = 128
NOWHERE = View(0, ())
"""The view of an operand whose layer has not laid it out yet."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor as a layer reads or writes it.

    Parameters
    ----------
    tensor : str
        Name; equal names are the same tensor.
    elements : int
        Codes that the layer touches, all its instances together; a reader may take a slice.
    bits : int
        Width of one stored code.
    constant : bool
        True for a weight or parameter, which starts in DRAM; otherwise an activation that an
        earlier layer wrote, or the image.
    dtype : str
        numpy name of the integers.
    fields : tuple of Field
        Of what an element is made, if it is a word of several integers.
    view : View, optional
        Where the elements lie in the tensor; by default one after another, as the layer runs.
    along : tuple of str
        What each axis of the view runs along: a dimension of the layer ("count", "m", "n", "k",
        or "rows", "length"), or "all" where all of it is needed at once.
    size : int
        Elements of the whole tensor, by default `elements`.
    """

    tensor: str
    elements: int
    bits: int
    constant: bool = False
    dtype: str = "int32"
    fields: tuple[Field, ...] = ()
    view: View = NOWHERE
    along: tuple[str, ...] = ()
    size: int = 0

    def __post_init__(self) -> None:
        require(bool(self.tensor), "an operand's tensor must have a name")
        require(self.elements > 0, f"{self.tensor}: elements must be positive, not {self.elements}")
        require(
            1 <= self.bits <= _MAX_BITS,
            f"{self.tensor}: bits must be in 1..{_MAX_BITS}, not {self.bits}",
        )
        object.__setattr__(self, "size", self.size or self.elements)
        last = self.view.last if self.along else self.elements - 1
        require(
            max(last, self.elements - 1) < self.size,
            f"{self.tensor}: element {max(last, self.elements - 1)} must be below {self.size}",
        )

    @property
    def stored_bits(self) -> int:
        """Storage of the whole tensor."""
        return self.size * self.bits

    @property
    def signed(self) -> bool:
        """Whether codes are two's complement."""
        return self.dtype.startswith("int")

    @property
    def is_table(self) -> bool:
        """Whether it is what channels have of their own, which has a memory of its own.

        Words of an epilogue are tables also where they are rescaled for each image.
        """
        return bool(self.fields) and (self.constant or self.fields == UNITS["epilogue"].fields)

    def laid_out(self, sizes: Mapping[str, int], *guesses: Sequence[str]) -> "Operand":
        """Return the operand with a view: its own, or all of it along the first guess that fits.

        What fits none is needed whole.
        """
        if self.along:
            return self
        for along in guesses:
            shape = [sizes[name] for name in along]
            if prod(shape) == self.elements:
                return replace(self, view=View.contiguous(shape), along=tuple(along))
        return replace(self, view=View.contiguous((self.elements,)), along=("all",))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Parameter words of one layer: `fields` side by side, int64 arrays in the order of words."""

    fields: tuple[Field, ...]
    values: tuple[NDArray[np.int64], ...]
