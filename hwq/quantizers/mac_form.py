"""The MAC form: what the array sees of a code, and what its epilogue owes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.epilogue import SQRT2
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.pe import SHIFT, SHIFT_PARITY, PeKind, PeSpec


@dataclass(frozen=True, eq=False)
class MacForm:
    """How the processing elements consume codes, as tables over all codes.

    A code c (taken modulo 2**bits, so signed codes index too) has the integer value
    V(c) = plane_weights[plane[c]] * (significand[c] << shift[c]) and stands for the number
    lsb * (V(c) - offset). The array sums each plane by itself; the epilogue weights the planes
    and subtracts offset times the sums over the columns of the other operand.

    Parameters
    ----------
    pe : PeKind
    significand : int64[2**bits]
        What is multiplied; 0, 1 or -1 where the element has no multiplier.
    shift : int64[2**bits]
        Left shift of the product; entries need |significand << shift| <= 2**15.
    plane : int64[2**bits]
        Accumulator that the product goes to.
    plane_weights : tuple[int, ...]
        One factor per accumulator.
    offset : int
        The integer value of the number 0 in units of lsb.
    lsb : float or float64[...]
        What one unit of V stands for; an array broadcasts against the codes.
    """

    pe: PeKind
    significand: NDArray[np.int64]
    shift: NDArray[np.int64]
    plane: NDArray[np.int64]
    plane_weights: tuple[int, ...] = (1,)
    offset: int = 0
    lsb: float | NDArray[np.float64] = 1.0

    def __post_init__(self) -> None:
        sizes = {self.significand.size, self.shift.size, self.plane.size}
        size = self.significand.size
        require(
            len(sizes) == 1 and size == 1 << self.bits and size >= 2,
            f"the tables must have one length, a power of two, not {sorted(sizes)}",
        )
        least, most = int(self.plane.min()), int(self.plane.max())
        require(
            least >= 0 and most < len(self.plane_weights),
            f"plane must be in 0..{len(self.plane_weights) - 1}, not {least}..{most}",
        )
        lowest = int(self.shift.min())
        require(lowest >= 0, f"shift must not be negative, not {lowest}")
        largest = int(np.abs(self.significand << self.shift).max())
        require(largest <= 1 << 15, f"an entry must be within 2**15, not {largest}")

    @classmethod
    def logarithmic(cls, spec: Log2Spec, scale: float = 1.0, offset: int = 0) -> "MacForm":
        """Return the form of `spec`'s codes, where the fraction 1 stands for `scale`.

        With r = code + spec.offset and E the largest exponent that exists: significand 1, shift
        E - ceil(r / steps), plane r mod steps. The zero code, and codes that an exponent limit
        keeps from existing, have significand 0. The lsb is scale * 2**-E, by 2**-7 more for
        log_sqrt2, whose planes weigh 128 and 181. `offset` is in units of that lsb.
        """
        steps = spec.steps_per_octave
        level = np.arange(1 << spec.bits, dtype=np.int64) + spec.offset
        exists = level <= spec.max_level
        exponent = -(-level // steps)
        largest = -(-spec.max_level // steps)
        return cls(
            pe=SHIFT if steps == 1 else SHIFT_PARITY,
            significand=exists.astype(np.int64),
            shift=np.where(exists, largest - exponent, 0),
            plane=np.where(exists, level % steps, 0),
            plane_weights=(1,) if steps == 1 else SQRT2,
            offset=offset,
            lsb=scale * 2.0**-largest / (1 if steps == 1 else SQRT2[0]),
        )

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self.significand.size.bit_length() - 1

    def value_table(self) -> NDArray[np.int64]:
        """Return V of every code: int64[2**bits]."""
        weights = np.array(self.plane_weights, np.int64)
        values: NDArray[np.int64] = weights[self.plane] * (self.significand << self.shift)
        return values

    def plane_tables(self) -> list[NDArray[np.int64]]:
        """Return significand << shift of every code, once per plane, 0 where it is not its own."""
        entries = self.significand << self.shift
        return [np.where(self.plane == p, entries, 0) for p in range(len(self.plane_weights))]

    def element(self, b_bits: int = 8, acc_bits: int = 32) -> PeSpec:
        """Return the processing element for these codes; offset and weights are the epilogue's."""
        return PeSpec(
            self.pe,
            self.bits,
            b_bits,
            acc_bits,
            *(tuple(table.tolist()) for table in (self.significand, self.shift, self.plane)),
        )

    def accumulate(self, codes: NDArray[np.integer], w: NDArray[np.integer]) -> NDArray[np.int64]:
        """int[M,K], int[K,N] -> int64[M,N]: what array and epilogue together compute.

        sum_p plane_weights[p] * (plane_tables[p][codes] @ w) - offset * w.sum(0), so that
        lsb * result = decode(codes) @ w. Entries are at most 2**15 and weights at most 181 < 2**8:
        for 16-bit w and K <= 2**16 a sum stays below 2**(15 + 8 + 15 + 16) = 2**54.
        """
        wide = np.asarray(w, np.int64)
        index = np.asarray(codes, np.int64) & (self.significand.size - 1)
        acc = np.zeros((index.shape[0], wide.shape[1]), np.int64)
        for weight, table in zip(self.plane_weights, self.plane_tables(), strict=True):
            acc += weight * (table[index] @ wide)
        acc -= self.offset * wide.sum(axis=0)
        return acc
