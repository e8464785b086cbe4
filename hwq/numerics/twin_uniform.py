"""Twin uniform quantizer: two scales a power of two apart, and a bit that selects."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.requantize import MULT_BITS
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import REQUANTIZE_WORK, Unit, UnitTiming

FORMS = ("softmax", "gelu")


@kernel
def _twin_uniform(
    x: NDArray[np.int64], mult: int, shift: int, m: int, bits: int, by_sign: bool
) -> tuple[NDArray[np.uint8], int]:
    """int64[n], |x| < 2**31 -> uint8[n], saturated: flag << (bits-1) | magnitude. Ties go up."""
    out = np.empty(x.size, np.uint8)
    top = (1 << (bits - 1)) - 1
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    for i in range(x.size):
        # |x * mult| < 2**47 and half << m <= 2**61: the sum is below 2**62
        product = x[i] * mult
        fine = (product + half) >> shift
        coarse = (product + (half << m)) >> (shift + m)
        flag = x[i] >= 0 if by_sign else (fine > top) & (coarse > 0)
        wide = coarse if flag else (-fine if by_sign else fine)
        held = min(max(wide, 0), top)
        saturated += held != wide
        out[i] = held + flag * (top + 1)
    return out, saturated


def twin_uniform_reference(
    x: NDArray[np.integer], spec: "TwinUniformSpec"
) -> tuple[NDArray[np.uint8], int]:
    """int[...] -> uint8[...], saturated: select the range of every x, then quantise it once."""
    codes = []
    saturated = 0
    for value in np.asarray(x).ravel().tolist():
        fine = half_up_shift(value * spec.mult, spec.shift)
        coarse = half_up_shift(value * spec.mult, spec.shift + spec.m)
        if spec.form == "gelu":
            flag, magnitude = (1, coarse) if value >= 0 else (0, -fine)
        else:
            flag, magnitude = (1, coarse) if fine > spec.top and coarse > 0 else (0, fine)
        if not 0 <= magnitude <= spec.top:
            saturated += 1
            magnitude = max(0, min(magnitude, spec.top))
        codes.append((flag << (spec.bits - 1)) | magnitude)
    return np.array(codes, np.uint8).reshape(np.shape(x)), saturated


@dataclass(frozen=True, slots=True)
class TwinUniformSpec:
    """Twin uniform codes of a fixed-point integer x.

    code = flag << (bits-1) | magnitude. With fine = (x*mult + 2**(shift-1)) >> shift and
    coarse = (x*mult + 2**(shift+m-1)) >> (shift+m), each clamped to 0..2**(bits-1)-1:

    "softmax" : the flag is set, and the magnitude is coarse, where fine does not fit and coarse is
        not 0; otherwise the magnitude is fine. A code stands for scale * (magnitude << m*flag).
    "gelu" : the flag is set, and the magnitude is coarse, where x >= 0; otherwise the magnitude is
        -fine. A code stands for scale * (flag ? magnitude << m : -magnitude).

    A number is quantised once, in its own range, so every code has one meaning.

    Parameters
    ----------
    mult : int in 0..65535
        Mantissa of 2**-frac / scale, where `scale` is that of the fine range.
    shift : int in 1..62-m
        Its shift.
    m : int
        The coarse scale is 2**m times the fine one; 0 <= m, (2**(bits-1)-1) << m <= 2**15.
    bits : int in 2..8
        Width of a code.
    form : {"softmax", "gelu"}
        Ranges selected by magnitude or by sign.
    """

    mult: int
    shift: int
    m: int
    bits: int = 8
    form: str = "softmax"

    def __post_init__(self) -> None:
        require(0 <= self.mult < 1 << MULT_BITS, f"mult must be in 0..65535, not {self.mult}")
        require(2 <= self.bits <= 8, f"bits must be in 2..8, not {self.bits}")
        require(
            self.m >= 0 and self.top << max(self.m, 0) <= 1 << 15,
            f"m must keep {self.top} << m within 2**15, not {self.m}",
        )
        most = 62 - self.m
        require(1 <= self.shift <= most, f"shift must be in 1..{most}, not {self.shift}")
        require(self.form in FORMS, f"form must be one of {', '.join(FORMS)}, not {self.form!r}")

    @property
    def top(self) -> int:
        """The largest magnitude."""
        return (1 << (self.bits - 1)) - 1

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[...], |x| < 2**31 -> codes uint8[...], number of saturated elements."""
        flat = np.ascontiguousarray(x, np.int64).reshape(-1)
        by_sign = self.form == "gelu"
        codes, saturated = _twin_uniform(flat, self.mult, self.shift, self.m, self.bits, by_sign)
        return cast(NDArray[np.uint8], codes.reshape(np.shape(x))), saturated

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
        """int[...], |x| < 2**31 -> codes uint8[...], number of saturated elements, slowly."""
        return twin_uniform_reference(x, self)


def timing() -> UnitTiming:
    """Item: one value. Multiply; round and shift for both ranges; select and saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


UNIT = Unit(
    "twin_uniform",
    TwinUniformSpec,
    timing,
    ops=("encode",),
    work=REQUANTIZE_WORK,
    streams=True,
)
