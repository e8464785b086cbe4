"""What an accelerator wrote to its activation buffer, from the log of its bench."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.rtl.accelerator import ELEMENT_BITS

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Writes:
    """Words that were written in one slot.

    Parameters
    ----------
    cycles, addresses : int64[words, lanes]
        When, and the bit address of every element.
    values : int64[words, lanes]
        Its bits.
    keep : bool[words, lanes]
        Whether it was written.
    """

    cycles: Int
    addresses: Int
    values: Int
    keep: NDArray[np.bool_]


def writes_by_slot(lines: bytes, lanes: int) -> Iterator[tuple[int, Writes]]:
    """Yield the number of each slot in which something was written, and what.

    Parameters
    ----------
    lines : bytes
        Slot, cycle, granule, bits, keep and elements of every word, in hex.
    lanes : int
    """
    width = lines.index(b"\n") + 1 if lines else 1
    table = np.frombuffer(lines, np.uint8).reshape(-1, width)[:, :-1]
    sizes = [len(word) for word in lines[: width - 1].split(b" ")]
    starts = np.cumsum([0, *(size + 1 for size in sizes)])
    fields = [table[:, start : start + size] for start, size in zip(starts, sizes, strict=False)]
    slots, cycles, granules, bits = (_number(field) for field in fields[:4])
    edges = np.flatnonzero(np.diff(slots, prepend=-1))
    for first, last in zip(edges, [*edges[1:], len(slots)], strict=True):
        part = slice(first, last)
        elements, room = _bits(fields[5][part])[:, ::-1], ELEMENT_BITS + 1
        codes = elements[:, : lanes * room].reshape(-1, lanes, room)
        weights = np.int64(1) << np.arange(room)
        width_of = int(bits[first])
        values = (codes[..., :width_of] * weights[:width_of]).sum(axis=-1)
        addresses = granules[part, np.newaxis] * lanes + np.arange(lanes) * width_of
        keep = _bits(fields[4][part])[:, ::-1][:, :lanes].astype(bool)
        yield int(slots[first]), Writes(cycles[part], addresses, values, keep)


def _nibbles(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(text < ord("a"), text - ord("0"), text - ord("a") + 10).astype(np.uint8)


def _number(text: NDArray[np.uint8]) -> Int:
    """uint8[lines, digits] of hex -> int64[lines]."""
    powers = np.int64(16) ** np.arange(text.shape[1], dtype=np.int64)[::-1]
    number: Int = (_nibbles(text).astype(np.int64) * powers).sum(axis=1)
    return number


def _bits(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[lines, digits] of hex -> uint8[lines, bits], the highest first."""
    return np.unpackbits(_nibbles(text)[..., np.newaxis], axis=-1)[..., 4:].reshape(len(text), -1)
