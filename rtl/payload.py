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
    return [int.from_bytes(row.tobytes(), "big") for row in _rows(payload, values)]


def hex_lines(payload: ShapeLike, values: NDArray[np.int64]) -> str:
    """What `pack` takes -> a line for each payload, all of one length, as $readmemh and %h have it.

    Raises
    ------
    SpecError
        As of `pack`.
    """
    rows = _rows(payload, values)
    digits = -(-width(payload) // 4)
    letters = np.frombuffer(rows.tobytes().hex().encode(), np.uint8)
    letters = letters.reshape(len(rows), 2 * rows.shape[1])
    newlines = np.full((len(rows), 1), ord("\n"), np.uint8)
    return np.concatenate([letters[:, -digits:], newlines], axis=1).tobytes().decode()


def _rows(payload: ShapeLike, values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8[n, bytes], the highest byte first."""
    shapes = fields(payload)
    columns = values.reshape(-1, 1) if values.ndim == 1 else values
    require(
        columns.shape[1] == len(shapes),
        f"values must have {len(shapes)} columns, one a field, not {columns.shape[1]}",
    )
    bits = []
    for number, shape in enumerate(shapes):
        column = columns[:, number]
        low, high = ends(shape)
        for value in column[(column < low) | (column > high)][:1].tolist():
            require(False, f"field {number} must be in {low}..{high}, not {value}")
        bits.append((column[:, None] >> np.arange(shape.width) & 1).astype(np.uint8))
    return np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="little")[:, ::-1]


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
