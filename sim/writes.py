"""What an accelerator wrote to its activation buffer and its tables, from the logs of its bench."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

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
        Its bits. An element of more than 16 bits is written in pieces of `piece_bits`.
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
    for slot, cycles, (granules, bits, keep, elements) in _lines_by_slot(lines):
        places, width = _number(granules)[:, np.newaxis] * lanes, int(_number(bits)[0])
        room = ELEMENT_BITS + 1
        codes = _bits(elements)[:, ::-1][:, : lanes * room].reshape(-1, lanes, room)
        addresses = places + np.arange(lanes) * width
        kept = _bits(keep)[:, ::-1][:, :lanes].astype(bool)
        yield slot, Writes(cycles, addresses, _value(codes[..., :width]), kept)


def tables_by_slot(lines: bytes, lanes: int) -> Iterator[tuple[int, Writes]]:
    """Yield the number of each slot in which words of parameters were written, and what.

    Parameters
    ----------
    lines : bytes
        Slot, cycle, address, keep and bits of every word, in hex.
    lanes : int
    """
    for slot, cycles, (words, keep, content) in _lines_by_slot(lines):
        word_bits = 4 * content.shape[1] // lanes * lanes
        piece = piece_bits(word_bits // lanes)
        pieces = _bits(content)[:, ::-1][:, :word_bits].reshape(len(cycles), -1, piece)
        addresses = _number(words)[:, np.newaxis] * word_bits + np.arange(0, word_bits, piece)
        kept = _bits(keep)[:, ::-1][:, :lanes].astype(bool)
        yield (
            slot,
            Writes(cycles, addresses, _value(pieces), kept.repeat(len(pieces[0]) // lanes, axis=1)),
        )


def piece_bits(bits: int) -> int:
    """Return the width of what an element is compared in: itself, or parts of a wide one."""
    return bits if bits <= ELEMENT_BITS else gcd(bits, ELEMENT_BITS)


def _lines_by_slot(lines: bytes) -> Iterator[tuple[int, Int, list[NDArray[np.uint8]]]]:
    """Yield a slot, the cycles of its lines, and the digits of what else they say."""
    if not lines:
        return
    width = lines.index(b"\n") + 1
    table = np.frombuffer(lines, np.uint8).reshape(-1, width)[:, :-1]
    sizes = [len(word) for word in lines[: width - 1].split(b" ")]
    starts = np.cumsum([0, *(size + 1 for size in sizes)])
    fields = [table[:, start : start + size] for start, size in zip(starts, sizes, strict=False)]
    slots = _number(fields[0])
    edges = np.flatnonzero(np.diff(slots, prepend=-1))
    for first, last in zip(edges, [*edges[1:], len(slots)], strict=True):
        part = slice(first, last)
        cycles, *others = (field[part] for field in fields[1:])
        yield int(slots[first]), _number(cycles), others


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


def _value(bits: NDArray[np.uint8]) -> Int:
    """uint8[..., bits], the lowest first -> int64[...]."""
    value: Int = (bits * (np.int64(1) << np.arange(bits.shape[-1]))).sum(axis=-1)
    return value
