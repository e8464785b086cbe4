"""Rows of integers as they lie packed in a buffer, and how a bench gives them to one."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Packed:
    """Rows of integers; `pitch` from one to the next, in granules: rows begin at words.

    Parameters
    ----------
    values : int64[rows, length]
    lanes, ratio : int
        Elements of a lane word; granules of a word of the buffer.
    bits : int
        Width of an element.
    base : int
        Address of the first row.
    """

    values: NDArray[np.int64]
    lanes: int
    ratio: int
    bits: int
    base: int = 0
    words: int = field(init=False)
    pitch: int = field(init=False)

    def __post_init__(self) -> None:
        self.words = -(-self.values.shape[1] // self.lanes)
        self.pitch = -(-self.words * self.bits // self.ratio) * self.ratio

    @property
    def whole(self) -> "Packed":
        """All elements of all words, those that do not count being 1."""
        missing = self.words * self.lanes - self.values.shape[1]
        values = np.pad(self.values, ((0, 0), (0, missing)), constant_values=1)
        return Packed(values, self.lanes, self.ratio, self.bits, self.base)

    @property
    def keep(self) -> int:
        """Which elements of a row's last word count."""
        return (1 << (self.values.shape[1] - (self.words - 1) * self.lanes)) - 1

    @property
    def loops(self) -> list[tuple[int, int]]:
        """Words of a row, and rows."""
        return [(self.words, self.bits), (len(self.values), self.pitch)]

    def addresses(self) -> Iterator[tuple[int, int, int]]:
        """Row, first column and address of every word."""
        for row in range(len(self.values)):
            for word in range(self.words):
                yield row, word * self.lanes, self.base + row * self.pitch + word * self.bits

    async def write(self, ctx, port) -> None:
        """Write all of it through a port of a buffer."""
        ctx.set(port.bits, self.bits)
        for row, first, address in self.addresses():
            part = self.values[row, first : first + self.lanes].tolist()
            for lane, value in enumerate(part):
                ctx.set(port.elements[lane], value)
            ctx.set(port.address, address)
            ctx.set(port.keep, (1 << len(part)) - 1)
            ctx.set(port.enable, 1)
            await ctx.tick()
        ctx.set(port.enable, 0)
        await ctx.tick().repeat(3)

    async def read(self, ctx, port, is_signed: bool) -> NDArray[np.int64]:
        """Read what lies where it lies: int64[rows, length]."""
        found = np.zeros((len(self.values), self.words * self.lanes), np.int64)
        ctx.set(port.bits, self.bits)
        ctx.set(port.signed, is_signed)
        for row, first, address in self.addresses():
            ctx.set(port.address, address)
            ctx.set(port.enable, 1)
            await ctx.tick()
            ctx.set(port.enable, 0)
            await ctx.tick().repeat(2)
            found[row, first : first + self.lanes] = [ctx.get(e) for e in port.elements]
        return found[:, : self.values.shape[1]]


def set_fields(ctx, view, values: dict[str, int]) -> None:
    """Set every field, those without a value to 0."""
    for name, _ in view.shape():
        ctx.set(view[name], values.get(name, 0))


def set_walk(ctx, walk, base: int, loops: list[tuple[int, int]]) -> None:
    """Set the addresses of an operand, the innermost loop first."""
    ctx.set(walk.base, base)
    for level in range(walk.loops.shape().length):
        count, stride = loops[level] if level < len(loops) else (1, 0)
        loop = walk.loops[level]
        set_fields(ctx, loop, {"count": count, "stride": stride % (1 << len(loop.stride))})
