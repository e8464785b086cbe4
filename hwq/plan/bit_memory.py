"""A memory as bytes, in which codes of any width lie at any bit."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hwq.numerics.unit import Field

Int = NDArray[np.int64]
_PIECE_BITS = 32
"""Most bits that are read at once, wherever they begin."""


class BitMemory:
    """Bits, of which the first one is the lowest of the first byte.

    Parameters
    ----------
    bits : int
        Size.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._bytes = np.zeros(-(-bits // 8) + 8, np.uint8)

    @classmethod
    def of(cls, content: bytes) -> "BitMemory":
        """Return a memory that holds these bytes."""
        memory = cls(8 * len(content))
        memory._bytes[: len(content)] = np.frombuffer(content, np.uint8)
        return memory

    @property
    def content(self) -> bytes:
        """All bytes."""
        return self._bytes[: -(-self.bits // 8)].tobytes()

    def read(self, addresses: Int, bits: int, signed: bool) -> Int:
        """int64[...] bit addresses -> int64[...]: elements of at most 64 bits.

        Raises
        ------
        ValueError
            If an element lies outside the memory.
        """
        self._check(addresses, bits)
        value = np.zeros(addresses.shape, np.uint64)
        for low in range(0, bits, _PIECE_BITS):
            width = min(_PIECE_BITS, bits - low)
            value |= self._piece(addresses + low, width) << np.uint64(low)
        if signed and bits < 64:
            spare = 64 - bits
            return (value << np.uint64(spare)).view(np.int64) >> spare
        return value.view(np.int64)

    def write(self, addresses: Int, values: Int, bits: int, signed: bool) -> None:
        """Put int64[...] values at bit addresses of the same shape.

        Raises
        ------
        ValueError
            If an element lies outside the memory, or a value does not fit its bits.
        """
        self._check(addresses, bits)
        least = -(1 << (bits - 1)) if signed else 0
        most = (1 << (bits - signed)) - 1
        if values.size and not (least <= int(values.min()) and int(values.max()) <= most):
            raise ValueError(
                f"values must be in {least}..{most}, not {values.min()}..{values.max()}"
            )
        flat, codes = addresses.ravel(), values.ravel().view(np.uint64)
        if bits % 8 == 0 and not (flat % 8).any():
            for byte in range(bits // 8):
                part = (codes >> np.uint64(8 * byte)).astype(np.uint8)
                self._bytes[flat // 8 + byte] = part
            return
        first, stop = int(flat.min()) // 8, -(-(int(flat.max()) + bits) // 8)
        window = np.unpackbits(self._bytes[first:stop], bitorder="little")
        for bit in range(bits):
            window[flat - 8 * first + bit] = (codes >> np.uint64(bit)).astype(np.uint8) & 1
        self._bytes[first:stop] = np.packbits(window, bitorder="little")

    def read_words(self, addresses: Int, fields: Sequence[Field]) -> dict[str, Int]:
        """int64[...] bit addresses -> the fields of the words there, each int64[...]."""
        words, low = {}, 0
        for part in fields:
            words[part.name] = self.read(addresses + low, part.bits, part.signed)
            low += part.bits
        return words

    def write_words(
        self, addresses: Int, words: Mapping[str, Int], fields: Sequence[Field]
    ) -> None:
        """Put the fields of words, each int64[...], at bit addresses of the same shape."""
        low = 0
        for part in fields:
            self.write(addresses + low, words[part.name], part.bits, part.signed)
            low += part.bits

    def copy(self, source: Int, other: "BitMemory", target: Int, bits: int) -> None:
        """Copy elements of any width from `source` to `target`, addresses in another memory."""
        for low in range(0, bits, _PIECE_BITS):
            width = min(_PIECE_BITS, bits - low)
            values = self.read(source.ravel() + low, width, signed=False)
            other.write(target.ravel() + low, values, width, signed=False)

    def _piece(self, addresses: Int, bits: int) -> NDArray[np.uint64]:
        first, phase = addresses >> 3, (addresses & 7).astype(np.uint64)
        value = np.zeros(addresses.shape, np.uint64)
        for byte in range(-(-(bits + 7) // 8)):
            value |= self._bytes[first + byte].astype(np.uint64) << np.uint64(8 * byte)
        piece: NDArray[np.uint64] = (value >> phase) & np.uint64((1 << bits) - 1)
        return piece

    def _check(self, addresses: Int, bits: int) -> None:
        if addresses.size and not 0 <= addresses.min() <= addresses.max() <= self.bits - bits:
            raise ValueError(
                f"addresses must be in 0..{self.bits - bits}, not "
                f"{addresses.min()}..{addresses.max()}"
            )
