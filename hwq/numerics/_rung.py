"""Ways to multiply small integers exactly, by what the processor offers."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

GROUP = 4
"""Values of K side by side in a panel of B: the bytes of a 32-bit lane."""

VECTORS = 2
"""Vectors of columns in a panel of B."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A way to multiply: vectors of `lanes` 32-bit sums, and an instruction.

    Parameters
    ----------
    name : str
    lanes : {4, 8, 16}
        128, 256 or 512 bits.
    rows : int
        Rows of a full tile: with VECTORS accumulators each, and the operands, they fill the
        registers.
    dot : {"vnni", "madd", "mul"}
        "vnni": vpdpbusd adds four products of bytes to a lane, vpdpwssd two of words.
        "madd": vpmaddwd adds two products of words; vpmaddubsw makes 16-bit sums of two products
        of bytes, which saturate: a run of them must be widened before they can.
        "mul": any processor's 32-bit multiply.
    features : frozenset of str
        What numba's target must offer, as LLVM names it.
    """

    name: str
    lanes: int
    rows: int
    dot: Literal["vnni", "madd", "mul"]
    features: frozenset[str] = frozenset()

    @property
    def columns(self) -> int:
        """Columns of a panel of B."""
        return VECTORS * self.lanes

    @property
    def tag(self) -> NDArray[np.bool_]:
        """An empty array by whose number of dimensions numba knows the rung: a type, no value."""
        return np.empty((0,) * (RUNGS.index(self) + 1), np.bool_)


_AVX512 = frozenset({"+avx512f", "+avx512bw"})
RUNGS: Final[tuple[Rung, ...]] = (
    Rung("vnni", 16, 12, "vnni", _AVX512 | {"+avx512vnni"}),
    Rung("avx_vnni", 8, 6, "vnni", frozenset({"+avx2", "+avxvnni"})),
    Rung("avx512", 16, 12, "madd", _AVX512),
    Rung("avx2", 8, 6, "madd", frozenset({"+avx2"})),
    Rung("plain", 4, 4, "mul"),
)
"""Fastest first. All give equal results."""

MAX_ROWS: Final = max(rung.rows for rung in RUNGS)
