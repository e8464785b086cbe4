"""Shift-uniform-log2 quantizer: add a power of two to a probability, take its log2 code."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.shift_log2 import (
    FRACTION_BITS,
    timing,  # requantize, an adder, log2: in another order
)
from hwq.numerics.unit import REQUANTIZE_WORK, Unit

_LARGEST = (1 << FRACTION_BITS) - 1


def shift_uniform_log2_reference(
    x: NDArray[np.integer], spec: "ShiftUniformLog2Spec"
) -> tuple[NDArray[np.uint8], int]:
    """int[...] -> uint8[...], saturated: the code of every x by exact comparison of powers.

    round(-log2(s / 2**16)) <= r exactly where s >= 2**(15.5 - r), that is s**2 >= 2**(31 - 2*r);
    there are no ties. The sum s is not saturated here: it has no width.
    """
    codes = []
    saturated = 0
    for value in np.asarray(x).ravel().tolist():
        wide = half_up_shift(value << FRACTION_BITS, spec.frac)
        held = min(max(wide, 0), _LARGEST)
        saturated += held != wide
        square = (held + spec.eta) ** 2
        code = 0
        while square < 1 << (31 - 2 * (code + spec.offset)):
            code += 1
        codes.append(code)
    return np.array(codes, np.uint8).reshape(np.shape(x)), saturated


@dataclass(frozen=True, slots=True)
class ShiftUniformLog2Spec:
    """Logarithmic codes of a fixed-point probability x, after adding eta = 2**-eta_exponent.

    fraction = clamp(round(x * 2**(16-frac)), 0, 65535), ties up; code = max(r - offset, 0) with
    r = round(-log2((fraction + eta) / 2**16)), nearest in the log domain (no ties exist). The sum
    is at least eta, so r <= eta_exponent and no code underflows; x = 0 takes `zero_code`.

    In hardware: a 16-bit adder that saturates, the position of the leading one, one comparison of
    the mantissa with the square root of two, a subtraction and a clamp: `log2` is the unit for
    all but the adder. A saturated sum has r = 0, and the exact one r <= 0, so that it changes no
    code and is not counted; clamped fractions are.

    Source: I&S-ViT, arXiv 2311.10126, equations 13 and 14; what differs is in
    `hwq.quantizers.shift_uniform_log2`.

    Parameters
    ----------
    eta_exponent : int in 1..15
        eta is 2**-eta_exponent, that is 2**(16 - eta_exponent) in 16 bits of fraction.
    bits : int in 2..8
        Width of a code; eta_exponent - offset <= 2**bits - 1.
    offset : int in 0..eta_exponent-1
        The exponent of code 0.
    frac : int in 2..31
        Fraction bits of x.
    """

    eta_exponent: int
    bits: int = 4
    offset: int = 0
    frac: int = FRACTION_BITS

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 8, f"bits must be in 2..8, not {self.bits}")
        require(
            1 <= self.eta_exponent <= 15, f"eta_exponent must be in 1..15, not {self.eta_exponent}"
        )
        least = max(self.eta_exponent - (1 << self.bits) + 1, 0)
        require(
            least <= self.offset < self.eta_exponent,
            f"offset must be in {least}..{self.eta_exponent - 1} for eta_exponent "
            f"{self.eta_exponent} at {self.bits} bits, not {self.offset}",
        )
        require(2 <= self.frac <= 31, f"frac must be in 2..31, not {self.frac}")

    @property
    def eta(self) -> int:
        """What is added to the 16-bit fraction."""
        return 1 << (FRACTION_BITS - self.eta_exponent)

    @property
    def zero_code(self) -> int:
        """The code of x = 0, and the largest one that exists."""
        return self.eta_exponent - self.offset

    @property
    def fraction(self) -> RequantizeSpec:
        """The unit that makes the 16-bit fraction; the identity where frac is 16."""
        # 2**15 * 2**-(frac - 1) = 2**(16 - frac), exactly
        return RequantizeSpec(1 << (FRACTION_BITS - 1), self.frac - 1, 0, FRACTION_BITS)

    @property
    def log2(self) -> Log2Spec:
        """The unit that makes the code from the sum.

        Its top code 2**bits - 1 is given to r - offset = 2**bits - 1 only, where it is
        `zero_code`; to no smaller sum, because none exists.
        """
        return Log2Spec(FRACTION_BITS, self.bits, 1, self.offset)

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[...], |x| < 2**31 -> codes uint8[...], number of saturated elements."""
        fraction, saturated = self.fraction.compute(x)
        # at most 65535 + 2**15 < 2**17 before it saturates to 16 bits
        total = np.minimum(fraction.astype(np.int32) + self.eta, _LARGEST)
        return self.log2.compute(total), saturated

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[...], |x| < 2**31 -> codes uint8[...], number of saturated elements, slowly."""
        return shift_uniform_log2_reference(x, self)


UNIT = Unit(
    "shift_uniform_log2",
    ShiftUniformLog2Spec,
    timing,
    ops=("encode",),
    work=REQUANTIZE_WORK,
    streams=True,
)
