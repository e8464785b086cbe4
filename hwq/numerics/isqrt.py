"""Integer square root, floored and exact, one result bit a step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.unit import Unit, UnitTiming, ceil_div


@kernel
def _bit_length(n: int) -> int:
    """From n in 0..2**63-1 to 0..63: the position of the leading one, plus one; 0 for 0."""
    length = 0
    for width in (32, 16, 8, 4, 2, 1):
        if n >> width:
            n >>= width
            length += width
    return length + n


@kernel
def _isqrt_value(n: int, root_bits: int) -> int:
    """floor(sqrt(n)) of n in 0..2**(2*root_bits)-1 in root_bits steps, root_bits in 1..31."""
    root, bit = 0, 1 << (2 * root_bits - 2)
    for _ in range(root_bits):
        # trial < 2**(2*root_bits) <= 2**62: remainder and trial never leave int64
        trial = root + bit
        root >>= 1
        if n >= trial:
            n -= trial
            root += bit
        bit >>= 2
    return root


@kernel
def _isqrt(x: NDArray[np.int64], root_bits: int) -> NDArray[np.uint32]:
    """int64[n] -> uint32[n]: floor(sqrt(x)) by digit recurrence."""
    out = np.empty(x.size, np.uint32)
    for i in range(x.size):
        out[i] = _isqrt_value(x[i], root_bits)
    return out


def isqrt_reference(x: NDArray[np.integer]) -> NDArray[np.uint32]:
    """int[...] -> uint32[...]: the largest r with r*r <= x, by bisection on Python integers."""
    roots = []
    for value in np.asarray(x).ravel().tolist():
        low, high = 0, 1 << 31
        while high - low > 1:
            middle = (low + high) // 2
            if middle * middle <= value:
                low = middle
            else:
                high = middle
        roots.append(low)
    return np.array(roots, np.uint32).reshape(np.shape(x))


@dataclass(frozen=True, slots=True)
class IsqrtSpec:
    """floor(sqrt(x)) of an unsigned x: the largest r with r*r <= x.

    Parameters
    ----------
    in_bits : int in 1..62
        Width of x; the root takes as many steps as it has bits, ceil(in_bits / 2).
    """

    in_bits: int = 36

    def __post_init__(self) -> None:
        require(1 <= self.in_bits <= 62, f"in_bits must be in 1..62, not {self.in_bits}")

    @property
    def root_bits(self) -> int:
        """Width of the root."""
        return (self.in_bits + 1) // 2

    def compute(self, x: NDArray[np.integer]) -> NDArray[np.uint32]:
        """int[...] -> uint32[...], by the kernel; x must be in 0..2**in_bits-1."""
        self._check(x)
        flat = np.ascontiguousarray(x, np.int64).ravel()
        return _isqrt(flat, self.root_bits).reshape(np.shape(x))

    def reference(self, x: NDArray[np.integer]) -> NDArray[np.uint32]:
        """int[...] -> uint32[...], by bisection; x must be in 0..2**in_bits-1."""
        self._check(x)
        return isqrt_reference(x)

    def _check(self, x: NDArray[np.integer]) -> None:
        if x.size:
            lo, hi, top = int(x.min()), int(x.max()), (1 << self.in_bits) - 1
            require(0 <= lo and hi <= top, f"x must be in 0..{top}, not {lo}..{hi}")


def timing(in_bits: int) -> UnitTiming:
    """Item: one value. One stage per bit of the root."""
    return UnitTiming(latency_cycles=ceil_div(in_bits, 2), interval_cycles=1)


UNIT = Unit("isqrt", IsqrtSpec, timing)
