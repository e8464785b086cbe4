"""Uniform quantizer: a fixed-point number becomes an affine integer code."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.requantize import timing as requantize_timing
from hwq.numerics.unit import REQUANTIZE_WORK, Unit, UnitTiming


@dataclass(frozen=True, slots=True)
class UniformSpec:
    """Affine codes of a fixed-point integer x; the arithmetic is `RequantizeSpec`'s.

    code = clamp(((x*mult + 2**(shift-1)) >> shift) + zero_point) to the range of `bits`, ties up;
    it stands for (code - zero_point) * scale with mult * 2**-shift ~ 2**-frac / scale.

    Parameters
    ----------
    mult : int in 0..65535
        Mantissa of 2**-frac / scale.
    shift : int in 1..62
        Its shift.
    zero_point : int
        The code of 0.
    bits : int in 2..16
        Width of a code.
    signed : bool
        Codes are -2**(bits-1)..2**(bits-1)-1 or 0..2**bits-1.
    """

    mult: int
    shift: int
    zero_point: int = 0
    bits: int = 8
    signed: bool = False

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 16, f"bits must be in 2..16, not {self.bits}")
        # the unit validates the rest, with the same field names
        RequantizeSpec(self.mult, self.shift, self.zero_point, self.bits, self.signed)

    @property
    def unit(self) -> RequantizeSpec:
        """The hardware unit that does it."""
        return RequantizeSpec(self.mult, self.shift, self.zero_point, self.bits, self.signed)

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements."""
        return self.unit.compute(x)

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements, slowly."""
        return self.unit.reference(x)


def timing() -> UnitTiming:
    """Item: one value. `requantize`."""
    return requantize_timing()


UNIT = Unit(
    "uniform",
    UniformSpec,
    timing,
    ops=("encode",),
    work=REQUANTIZE_WORK,
    streams=True,
)
