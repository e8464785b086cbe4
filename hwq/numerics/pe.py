"""Processing elements of the array: their kinds, and what one does with a code and an integer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require

MAX_SHIFT: Final = 15
TWIN_SHIFT: Final = 3
"""Distance of the two ranges of the twin_uniform codes that are synthesised."""


class CodeTables(NamedTuple):
    """Significand, shift and plane of every code; empty for the defaults of `PeSpec`."""

    significand: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    plane: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PeKind:
    """What the hardware of a processing element can do with a code.

    Parameters
    ----------
    name : str
        Its word in an accelerator's TOML, in reports, and in the table of synthesis results.
    family : str
        The hardware that makes the product, a key of `hwq.rtl.pe.FAMILIES`. Kinds of one family
        share it in an array that has several of them.
    codes : callable
        Width of a code -> tables of the codes that the kind is for, as it is synthesised.
    shifts : int in 1..16
        Different shifts that codes may ask for: 1 for none, 2 for a choice of wires, 16 for all.
    planes : int in 1..2
        Accumulators.
    least, most : int
        Range of a significand: -1..1 where there is no multiplier.
    """

    name: str
    family: str
    codes: Callable[[int], CodeTables] = field(repr=False)
    shifts: int = 1
    planes: int = 1
    least: int = -(1 << 15)
    most: int = (1 << 16) - 1

    @property
    def multiplies(self) -> bool:
        """Whether a significand is more than a sign."""
        return self.most > 1


def _unsigned(bits: int) -> CodeTables:
    """Uniform codes, which are their own significands."""
    return CodeTables()


def _log2(bits: int) -> CodeTables:
    """Powers of two; the top code is zero."""
    return _powers(bits, steps=1)


def _log_sqrt2(bits: int) -> CodeTables:
    """Powers of the square root of two; the top code is zero."""
    return _powers(bits, steps=2)


def _powers(bits: int, steps: int) -> CodeTables:
    codes = range(1 << bits)
    exponents = [-(-code // steps) for code in codes]
    largest = min(exponents[-2], MAX_SHIFT)
    lives = [code != codes[-1] and exponents[code] <= largest for code in codes]
    return CodeTables(
        tuple(map(int, lives)),
        tuple(largest - exponents[code] if lives[code] else 0 for code in codes),
        tuple(code % steps if lives[code] else 0 for code in codes),
    )


def _twin(bits: int) -> CodeTables:
    """Codes of GELU's two ranges: negative, or shifted."""
    codes, half = range(1 << bits), 1 << (bits - 1)
    return CodeTables(
        tuple(code - half if code >= half else -code for code in codes),
        tuple(TWIN_SHIFT * (code >= half) for code in codes),
    )


MULTIPLY: Final = PeKind("multiply", "multiplier", _unsigned)
"""A product of significands: uniform codes."""
SHIFT: Final = PeKind("shift", "shifter", _log2, shifts=16, least=-1, most=1)
"""A barrel shifter: log2 codes."""
SHIFT_PARITY: Final = PeKind(
    "shift_parity", "shifter", _log_sqrt2, shifts=16, planes=2, least=-1, most=1
)
"""A barrel shifter into two accumulators chosen by the code's parity: log_sqrt2 codes."""
MULTIPLY_SHIFT: Final = PeKind("multiply_shift", "multiplier", _twin, shifts=2)
"""A product and a choice of two shifts: twin_uniform codes."""

PE_KINDS: Final[Mapping[str, PeKind]] = {
    kind.name: kind for kind in (MULTIPLY, SHIFT, SHIFT_PARITY, MULTIPLY_SHIFT)
}
"""Every kind by its name: what an array may be built of."""


@dataclass(frozen=True, slots=True)
class PeSpec:
    """A processing element: acc[plane[a]] += (significand[a] * b) << shift[a].

    a is a code, decoded once at the array's edge by the tables; b is a signed integer. Sums are
    modulo 2**acc_bits, as a two's complement register is.

    Parameters
    ----------
    kind : PeKind
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
        2**a_bits entries, 0 by default; as many different ones as the kind can do.
    plane : tuple of int, optional
        2**a_bits entries, 0 by default; below the kind's planes.
    """

    kind: PeKind = MULTIPLY
    a_bits: int = 8
    b_bits: int = 8
    acc_bits: int = 32
    significand: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    plane: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, low, high in (("a_bits", 1, 16), ("b_bits", 2, 16), ("acc_bits", 2, 62)):
            value = getattr(self, name)
            require(low <= value <= high, f"{name} must be in {low}..{high}, not {value}")
        codes = 1 << self.a_bits
        for name, default in (
            ("significand", tuple(range(codes)) if self.kind.multiplies else (1,) * codes),
            ("shift", (0,) * codes),
            ("plane", (0,) * codes),
        ):
            if not getattr(self, name):
                object.__setattr__(self, name, default)
            given = len(getattr(self, name))
            require(given == codes, f"{name} must have {codes} entries, not {given}")
        self._check_tables()

    def _check_tables(self) -> None:
        kind, low, high = self.kind, min(self.shift), max(self.shift)
        require(
            0 <= low and high <= MAX_SHIFT, f"shift must be in 0..{MAX_SHIFT}, not {low}..{high}"
        )
        least, most = min(self.significand), max(self.significand)
        require(
            kind.least <= least and most <= kind.most,
            f"significand must be in {kind.least}..{kind.most}, not {least}..{most}",
        )
        require(
            len(set(self.shift)) <= kind.shifts and (kind.shifts > 1 or high == 0),
            f"{kind.name} must not have the shifts {sorted(set(self.shift))}",
        )
        used = set(self.plane)
        require(
            used <= set(range(self.planes)), f"plane must be below {self.planes}, not {max(used)}"
        )

    @property
    def planes(self) -> int:
        """Accumulators."""
        return self.kind.planes

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
