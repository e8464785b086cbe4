"""Logarithmic codes with two steps per octave."""

from dataclasses import dataclass
from typing import ClassVar

from hwq.quantizers.log2 import Log2


@dataclass(frozen=True, eq=False)
class LogSqrt2(Log2):
    """code = round(-2*log2(x)) - offset for x in [0, 1].

    With r = code + offset it stands for 2**-(r/2) if r is even, and for
    181/128 * 2**-((r+1)/2) if r is odd. 181/128 is the square root of two within
    1.1e-4: the array shifts by ceil(r/2), sums even and odd codes apart, and the epilogue joins
    the sums in integers. Otherwise as `Log2`.
    """

    name: ClassVar[str] = "log_sqrt2"
    steps_per_octave: ClassVar[int] = 2
