"""The memories of a machine, and where in them tensors and blocks are."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from hwq.compiler.view import View

MemoryName = Literal["dram", "activation", "weight", "parameter", "output"]
BUFFERS: Final[tuple[MemoryName, ...]] = ("activation", "weight", "parameter", "output")
MEMORIES: Final[tuple[MemoryName, ...]] = ("dram", *BUFFERS)


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory: its size in bits, and what addresses are multiples of."""

    name: MemoryName
    bits: int
    word_bits: int

    def room(self, bits: Any) -> Any:
        """Return `bits`, a number or an array, in whole words."""
        return -(-bits // self.word_bits) * self.word_bits

    def top(self, bits: int) -> int:
        """Return the highest address from which there is room for `bits`."""
        return (self.bits - bits) // self.word_bits * self.word_bits


@dataclass(frozen=True, slots=True)
class Home:
    """Where a tensor lies from the beginning, or a result at the end.

    Parameters
    ----------
    tensor : str
    memory : str
    base : int
        Bit address of its first element.
    bits : int
        Room of an element.
    view : View
        One axis: where its elements are, in the order of the tensor.
    """

    tensor: str
    memory: MemoryName
    base: int
    bits: int
    view: View

    @property
    def elements(self) -> int:
        """Elements of the tensor."""
        return self.view.shape[0]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where blocks of a tensor in DRAM are on chip: row by row, in turns at each of the bases.

    Parameters
    ----------
    memory : str
    quantum : int
        Rows are stored, and moved, in multiples of so many elements: whole beats.
    bases : tuple of int
        Bit addresses of one place or two.
    bits : int
        Room of each.
    """

    memory: MemoryName
    quantum: int
    bases: tuple[int, ...] = ()
    bits: int = 0
