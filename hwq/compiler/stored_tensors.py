"""The tensors of a graph as they lie in memory, and as layers read them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.compiler.operand import Operand, Table
from hwq.compiler.view import View
from hwq.errors import SpecError
from hwq.numerics.unit import Field


class StoredTensors:
    """What is in memory, by the name of a tensor of the graph.

    Parameters
    ----------
    shape : callable
        Name -> shape in the graph.
    copy : callable
        Appends a layer that copies a tensor, by its name, to one of another name.
    """

    def __init__(
        self, shape: Callable[[str], tuple[int, ...]], copy: Callable[[str, str], Operand]
    ) -> None:
        self.shape, self.copy = shape, copy
        self.stored: dict[str, Operand] = {}
        """With a view in the shape of the graph."""
        self.constants: dict[str, NDArray[Any] | Table] = {}

    def store(
        self, name: str, shape: Sequence[int], bits: int, dtype: str, constant: bool = False
    ) -> Operand:
        """Note that a tensor lies in memory as it is."""
        view, size = View.contiguous(shape), prod(shape)
        along = ("all",) * len(shape)
        self.stored[name] = Operand(name, size, bits, constant, dtype, view=view, along=along)
        return self.stored[name]

    def store_words(
        self, name: str, shape: Sequence[int], fields: tuple[Field, ...], constant: bool = False
    ) -> Operand:
        """Note that parameter words lie in memory as they are."""
        bits = sum(part.bits for part in fields)
        operand = self.store(name, shape, bits, "int64", constant)
        self.stored[name] = replace(operand, fields=fields)
        return self.stored[name]

    def in_order(self, name: str) -> bool:
        """Whether a tensor is read element by element as it was written."""
        view, size = self.stored[name].view, self.stored[name].size
        return prod(view.shape) == size and view.reshape((size,)) == View.contiguous((size,))

    def read(
        self, name: str, shape: Sequence[int], along: Sequence[str], whole: Sequence[int] = ()
    ) -> Operand:
        """Return a tensor as a layer reads it: repeated to the shape `whole`, then as `shape`.

        What then has no nested strides is copied first.
        """
        operand = self.stored[name]
        for source in (operand, None):
            if source is None:
                operand = self.copy(name, f"{name}.copy")
            try:
                view = operand.view.expand(whole or operand.view.shape).reshape(shape)
                break
            except SpecError:
                continue
        return replace(operand, elements=view.elements, view=view, along=tuple(along))

    def rows(self, name: str, whole: Sequence[int]) -> Operand:
        """Return a tensor as rows of the last axis of `whole`."""
        *rows, length = whole
        return self.read(name, (prod(rows), length), ("rows", "length"), whole)

    def all(self, name: str) -> Operand:
        """Return a tensor that is needed whole."""
        return self.read(name, (prod(self.shape(name)),), ("all",))

    @staticmethod
    def out(operand: Operand, shape: Sequence[int], along: Sequence[str] = ()) -> Operand:
        """Return a tensor as a layer writes it: rows and columns, or along one dimension."""
        *rows, length = shape
        axes = (operand.elements,) if len(along) == 1 else (prod(rows), length)
        view = operand.view.reshape(axes)
        return replace(operand, view=view, along=tuple(along) or ("rows", "length"))

    def parameters(
        self, name: str, fields: Sequence[Field], spec: Any, shape: Sequence[int]
    ) -> list[Operand]:
        """Note the parameter words of a layer of that shape; none where all elements share one.

        Where every token has its own, they lie along the rows.
        """
        arrays = spec.parameters()
        words = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        if prod(words) == 1:
            return []
        if words[-1] == 1 and words[-2:-1] == tuple(shape[-2:-1]):
            return [self.row_table(name, fields, arrays, shape)]
        values = [np.broadcast_to(arrays[part.name], words).ravel() for part in fields]
        return [self.table(name, tuple(fields), values, words, shape)]

    def row_table(
        self,
        name: str,
        fields: Sequence[Field],
        arrays: Mapping[str, NDArray[np.int64]],
        shape: Sequence[int],
    ) -> Operand:
        """Note a constant table of a word for each row of a layer of that shape, side by side.

        `arrays`, by name of a field, broadcast against one column.
        """
        column = (*shape[:-1], 1)
        values = [np.broadcast_to(arrays[part.name], column).ravel() for part in fields]
        self.constants[name] = Table(tuple(fields), tuple(values))
        self.store_words(name, (prod(column),), tuple(fields), constant=True)
        return self.read(name, (prod(column),), ("rows",))

    def table(
        self,
        name: str,
        fields: tuple[Field, ...],
        values: Sequence[NDArray[np.int64]],
        words: Sequence[int],
        shape: Sequence[int],
    ) -> Operand:
        """Note a constant table of `words`, and return it as rows of a layer of that shape."""
        self.constants[name] = Table(fields, tuple(values))
        self.store_words(name, words, fields, constant=True)
        return self.rows(name, shape)
