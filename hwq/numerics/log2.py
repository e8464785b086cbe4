"""Logarithmic quantizer: a fraction becomes the nearest power of two, or of its square root."""

from dataclasses import dataclass
from math import isqrt
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.unit import Unit, UnitTiming


@kernel
def _log2(
    x: NDArray[np.integer],
    in_bits: int,
    thresholds: NDArray[np.int64],
    offset: int,
    zero_code: int,
    max_level: int,
) -> NDArray[np.uint8]:
    """int[n] -> uint8[n]: max(r - offset, 0), or zero_code if x == 0 or r > max_level.

    r = steps*(in_bits - e) - (thresholds <= x << (in_bits-1-e)), e the leading one of x.
    """
    steps = thresholds.size
    out = np.empty(x.size, np.uint8)
    for i in range(x.size):
        # x < 2**in_bits <= 2**16, so the normalised mantissa fits in 16 bits
        mantissa = np.int64(x[i])
        lead = 15
        for width in (8, 4, 2, 1):
            if mantissa < (1 << (16 - width)):
                mantissa <<= width
                lead -= width
        level = steps * (in_bits - lead)
        for k in range(steps):
            if mantissa >= thresholds[k]:
                level -= 1
        code = max(level - offset, 0)
        out[i] = zero_code if level > max_level or mantissa == 0 else code
    return out


def log2_reference(x: NDArray[np.integer], spec: "Log2Spec") -> NDArray[np.uint8]:
    """int[...] -> uint8[...]: the code of every x by exact comparison of powers.

    q = round(steps*log2(x)) is the largest q with 2**(2q-1) <= x**(2*steps), and a tie cannot
    occur: x**(2*steps) = 2**odd has no integer solution.
    """
    codes = []
    for value in np.asarray(x).ravel().tolist():
        if value == 0:
            codes.append(spec.zero_code)
            continue
        level = spec.steps_per_octave * spec.in_bits
        level -= (value ** (2 * spec.steps_per_octave)).bit_length() // 2
        exponent = -(-level // spec.steps_per_octave)
        code = max(level - spec.offset, 0)
        too_small = code >= spec.zero_code or exponent > spec.max_exponent
        codes.append(spec.zero_code if too_small else code)
    return np.array(codes, np.uint8).reshape(np.shape(x))


@dataclass(frozen=True, slots=True)
class Log2Spec:
    """Codes of a fraction x / 2**in_bits on a logarithmic grid.

    r = round(-steps_per_octave * log2(x / 2**in_bits)), nearest in the log domain (no ties
    exist). code = max(r - offset, 0) and stands for 2**(-(code + offset) / steps_per_octave).
    The top code 2**bits - 1 stands for zero: it is given to x == 0, to r - offset > 2**bits - 2
    and to exponents ceil(r / steps_per_octave) > max_exponent.

    Parameters
    ----------
    in_bits : int in 2..16
        Fraction bits, and width, of the unsigned input.
    bits : int in 2..8
        Width of a code.
    steps_per_octave : {1, 2}
        1 for log2, 2 for log_sqrt2.
    offset : int
        Grid point of code 0; 0 stands for 1.0.
    max_exponent : int in 0..15
        Largest right shift that the processing element can do.
    """

    in_bits: int = 16
    bits: int = 4
    steps_per_octave: int = 1
    offset: int = 0
    max_exponent: int = 15

    def __post_init__(self) -> None:
        require(2 <= self.in_bits <= 16, f"in_bits must be in 2..16, not {self.in_bits}")
        require(2 <= self.bits <= 8, f"bits must be in 2..8, not {self.bits}")
        require(
            self.steps_per_octave in (1, 2),
            f"steps_per_octave must be 1 or 2, not {self.steps_per_octave}",
        )
        require(
            0 <= self.max_exponent <= 15, f"max_exponent must be in 0..15, not {self.max_exponent}"
        )
        top = self.steps_per_octave * self.max_exponent
        require(0 <= self.offset <= top, f"offset must be in 0..{top}, not {self.offset}")

    @property
    def zero_code(self) -> int:
        """The code that stands for zero."""
        return (1 << self.bits) - 1

    @property
    def max_level(self) -> int:
        """The largest r that does not become zero."""
        by_bits = self.offset + self.zero_code - 1
        return min(by_bits, self.steps_per_octave * self.max_exponent)

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Mantissas in [2**15, 2**16) at which r drops: ceil(2**(15 + (2k-1)/(2*steps)))."""
        if self.steps_per_octave == 1:
            return (isqrt(1 << 31) + 1,)
        return tuple(isqrt(isqrt(1 << (60 + odd))) + 1 for odd in (1, 3))

    def compute(self, x: NDArray[np.integer]) -> NDArray[np.uint8]:
        """int[...] in 0..2**in_bits-1 -> uint8[...]."""
        flat = np.ascontiguousarray(x).reshape(-1)
        thresholds = np.array(self.thresholds, np.int64)
        codes = _log2(flat, self.in_bits, thresholds, self.offset, self.zero_code, self.max_level)
        return cast(NDArray[np.uint8], codes.reshape(np.shape(x)))

    def reference(self, x: NDArray[np.integer]) -> NDArray[np.uint8]:
        """int[...] in 0..2**in_bits-1 -> uint8[...], slowly."""
        return log2_reference(x, self)


def timing() -> UnitTiming:
    """Item: one value. Leading one, mantissa compare, saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


UNIT = Unit("log2", Log2Spec, timing)
