"""Shifted logarithmic quantizer: move to the positive side, make a fraction, take its log code."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.log2 import timing as log2_timing
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.requantize import timing as requantize_timing
from hwq.numerics.unit import REQUANTIZE_WORK, Unit, UnitTiming

FRACTION_BITS = 16


@dataclass(frozen=True, slots=True)
class ShiftLog2Spec:
    """Logarithmic codes of a fixed-point integer x, after adding a constant.

    fraction = clamp(((x + shift_add)*mult + 2**(shift-1)) >> shift, 0, 65535), ties up, stands
    for a number in [0, 1); the code is `Log2Spec(16, bits, steps_per_octave, offset)`'s. A sum
    below zero is clamped to the zero code and counted, as is a fraction of 1 or more.

    Parameters
    ----------
    shift_add : int
        Added to x; within 31 bits. 0 for softmax probabilities.
    mult : int in 0..65535
        Mantissa of 2**16 * 2**-frac / scale, where the fraction 1 stands for `scale`.
    shift : int in 1..62
        Its shift.
    bits : int in 2..8
        Width of a code.
    steps_per_octave : {1, 2}
        1 for log2, 2 for log_sqrt2.
    offset : int
        Grid point of code 0; 0 stands for `scale` itself.
    max_exponent : int in 0..15
        Largest right shift that the processing element can do.
    """

    shift_add: int
    mult: int
    shift: int
    bits: int = 4
    steps_per_octave: int = 2
    offset: int = 0
    max_exponent: int = 15

    def __post_init__(self) -> None:
        require(
            abs(self.shift_add) < 1 << 30, f"shift_add must be within 31 bits, not {self.shift_add}"
        )
        # the two units validate the rest, with the same field names
        RequantizeSpec(self.mult, self.shift)
        _ = self.log2

    @property
    def fraction(self) -> RequantizeSpec:
        """The unit that makes the fraction from x + shift_add."""
        return RequantizeSpec(self.mult, self.shift, 0, FRACTION_BITS)

    @property
    def log2(self) -> Log2Spec:
        """The unit that makes the code from the fraction."""
        return Log2Spec(
            FRACTION_BITS, self.bits, self.steps_per_octave, self.offset, self.max_exponent
        )

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[...], |x| < 2**31 -> codes uint8[...], number of saturated elements."""
        # |x + shift_add| is below 2**16 + 2**30 < 2**31 for 16-bit x and below 2**32 otherwise,
        # far below the 2**46 that the multiplier takes
        narrow = np.asarray(x).dtype.itemsize <= 2
        wide: NDArray[np.integer] = np.asarray(x, np.int32 if narrow else np.int64)
        fraction, saturated = self.fraction.compute(wide + self.shift_add)
        return self.log2.compute(fraction), saturated

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[...], |x| < 2**31 -> codes uint8[...], number of saturated elements, slowly."""
        fraction, saturated = self.fraction.reference(np.asarray(x, np.int64) + self.shift_add)
        return self.log2.reference(fraction), saturated


def timing() -> UnitTiming:
    """Item: one value. An adder, `requantize`, `log2`."""
    return UnitTiming(
        1 + requantize_timing().latency_cycles + log2_timing().latency_cycles, interval_cycles=1
    )


UNIT = Unit(
    "shift_log2",
    ShiftLog2Spec,
    timing,
    ops=("encode",),
    work=REQUANTIZE_WORK,
    streams=True,
)
