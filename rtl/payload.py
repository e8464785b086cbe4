"""A payload as integers, one per field, and as the bits that a port carries."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require


def fields(payload: ShapeLike) -> list[Shape]:
    """Return the shapes of all fields, nested ones in order, the lowest first."""
    if isinstance(payload, data.Layout):
        return [shape for _, field in payload for shape in fields(field.shape)]
    return [Shape.cast(payload)]


def ends(shape: Shape) -> tuple[int, int]:
    """Return the least and the most that a field holds."""
    low = -(1 << (shape.width - 1)) if shape.signed else 0
    return low, low + (1 << shape.width) - 1


def width(payload: ShapeLike) -> int:
    """Return the number of bits."""
    return sum(shape.width for shape in fields(payload))


def pack(payload: ShapeLike, values: NDArray[np.int64]) -> list[int]:
    """int64[n] of one field, or int64[n, fields] -> n payloads as unsigned integers.

    Raises
    ------
    SpecError
        If the columns are not the payload's fields, or a value does not fit its field.
    """
    shapes = fields(payload)
    columns = values.reshape(-1, 1) if values.ndim == 1 else values
    require(
        columns.shape[1] == len(shapes),
        f"values must have {len(shapes)} columns, one a field, not {columns.shape[1]}",
    )
    packed = [0] * len(columns)
    at = 0
    for number, shape in enumerate(shapes):
        column = columns[:, number]
        low, high = ends(shape)
        for value in column[(column < low) | (column > high)][:1].tolist():
            require(False, f"field {number} must be in {low}..{high}, not {value}")
        mask = (1 << shape.width) - 1
        packed = [
            old | (new & mask) << at for old, new in zip(packed, column.tolist(), strict=True)
        ]
        at += shape.width
    return packed


def unpack(payload: ShapeLike, packed: Sequence[int]) -> NDArray[np.int64]:
    """N payloads -> int64[n] of one field, or int64[n, fields]; what `pack` took."""
    columns = []
    at = 0
    for shape in fields(payload):
        mask, sign = (1 << shape.width) - 1, 1 << (shape.width - 1)
        raw = [(value >> at) & mask for value in packed]
        columns.append([v - 2 * (v & sign) for v in raw] if shape.signed else raw)
        at += shape.width
    values = np.array(columns, np.int64).T.reshape(len(packed), len(columns))
    return values[:, 0] if len(columns) == 1 else values
