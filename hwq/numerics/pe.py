"""What one processing element of the array does with a code and a linear operand."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require

PeKind = Literal["multiply", "shift", "shift_parity", "multiply_shift"]
PE_KINDS: tuple[PeKind, ...] = ("multiply", "shift", "shift_parity", "multiply_shift")


@dataclass(frozen=True, slots=True)
class PeSpec:
    """A processing element: acc[plane[a]] += (significand[a] * b) << shift[a].

    a is a code, decoded once at the array's edge by the tables; b is a signed integer. Sums are
    modulo 2**acc_bits, as a two's complement register is.

    Parameters
    ----------
    kind : {"multiply", "shift", "shift_parity", "multiply_shift"}
        A multiplier; a barrel shifter; a barrel shifter with two accumulators; a multiplier and a
        choice of two shifts.
    a_bits : int in 1..16
        Width of a code.
    b_bits : int in 2..16
        Width of b.
    acc_bits : int in 2..62
        Width of an accumulator.
    significand : tuple of int, optional
        2**a_bits entries; 0, 1 or -1 where there is no multiplier. By default the code itself,
        unsigned, or the sign of the element with a shifter: 1.
    shift : tuple of int, optional
        2**a_bits entries, 0 by default. multiply_shift has at most two different ones.
    plane : tuple of int, optional
        2**a_bits entries, 0 by default; 0 or 1 for shift_parity.
    """

    kind: PeKind = "multiply"
    a_bits: int = 8
    b_bits: int = 8
    acc_bits: int = 32
    significand: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    plane: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(
            self.kind in PE_KINDS, f"kind must be one of {', '.join(PE_KINDS)}, not {self.kind!r}"
        )
        for name, low, high in (("a_bits", 1, 16), ("b_bits", 2, 16), ("acc_bits", 2, 62)):
            value = getattr(self, name)
            require(low <= value <= high, f"{name} must be in {low}..{high}, not {value}")
        codes = 1 << self.a_bits
        multiplies = self.kind in ("multiply", "multiply_shift")
        for name, default in (
            ("significand", tuple(range(codes)) if multiplies else (1,) * codes),
            ("shift", (0,) * codes),
            ("plane", (0,) * codes),
        ):
            if not getattr(self, name):
                object.__setattr__(self, name, default)
            given = len(getattr(self, name))
            require(given == codes, f"{name} must have {codes} entries, not {given}")
        self._check_tables(multiplies)

    def _check_tables(self, multiplies: bool) -> None:
        low, high = min(self.shift), max(self.shift)
        require(0 <= low and high <= 15, f"shift must be in 0..15, not {low}..{high}")
        least, most = min(self.significand), max(self.significand)
        floor, ceiling = (-(1 << 15), (1 << 16) - 1) if multiplies else (-1, 1)
        require(
            floor <= least and most <= ceiling,
            f"significand must be in {floor}..{ceiling}, not {least}..{most}",
        )
        shifts = {"multiply": 1, "multiply_shift": 2}.get(self.kind, 16)
        require(
            len(set(self.shift)) <= shifts and (shifts > 1 or high == 0),
            f"{self.kind} must not have the shifts {sorted(set(self.shift))}",
        )
        used = set(self.plane)
        require(
            used <= set(range(self.planes)), f"plane must be below {self.planes}, not {max(used)}"
        )

    @property
    def planes(self) -> int:
        """Accumulators."""
        return 2 if self.kind == "shift_parity" else 1

    @property
    def significand_signed(self) -> bool:
        """Whether a significand may be negative."""
        return min(self.significand) < 0

    @property
    def significand_bits(self) -> int:
        """Width of the significand, two's complement if one is negative."""
        least, most = min(self.significand), max(self.significand)
        if least < 0:
            return 1 + max((~least).bit_length(), most.bit_length())
        return max(most.bit_length(), 1)

    @property
    def product_bits(self) -> int:
        """Width of a shifted product, signed.

        |significand * b| <= 2**significand_bits * 2**(b_bits - 1), and -1 * -2**(b_bits - 1) is
        2**(b_bits - 1): significand_bits + b_bits hold it.
        """
        return self.significand_bits + self.b_bits + max(self.shift)

    def products(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
        """int[...] codes, int[...] -> int64[planes, ...]: what is added to every accumulator.

        (significand[a] * b) << shift[a] in plane[a], 0 in the other; below 2**(16 + 15 + 15).
        """
        index = np.asarray(a, np.int64) & ((1 << self.a_bits) - 1)
        product = np.array(self.significand)[index] * np.asarray(b, np.int64)
        product = product << np.array(self.shift)[index]
        plane = np.array(self.plane)[index]
        return np.stack([np.where(plane == p, product, 0) for p in range(self.planes)])

    def compute(
        self, acc: NDArray[np.int64], a: NDArray[np.integer], b: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """int64[planes, ...], int[...] codes, int[...] -> int64[planes, ...]: one step."""
        return wrapped(acc + self.products(a, b), self.acc_bits)

    def tables(self) -> NDArray[np.int64]:
        """Return significand << shift of every code in its plane, else 0: int64[planes, codes]."""
        return self.products(np.arange(1 << self.a_bits), np.ones(1 << self.a_bits, np.int64))


def wrapped(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """int64[...] -> int64[...]: modulo 2**bits, from -2**(bits-1): two's complement."""
    half = 1 << (bits - 1)
    low: NDArray[np.int64] = ((values + half) & (2 * half - 1)) - half
    return low


def pe_reference(acc: list[int], a: int, b: int, spec: PeSpec) -> list[int]:
    """One step with Python integers: acc[plane] + significand * b * 2**shift, modulo."""
    code = a % (1 << spec.a_bits)
    sums = list(acc)
    sums[spec.plane[code]] += spec.significand[code] * b * 2 ** spec.shift[code]
    half = 1 << (spec.acc_bits - 1)
    return [(value + half) % (2 * half) - half for value in sums]
