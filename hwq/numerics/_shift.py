"""Shifts of 32 bits: numba's own widen to 64, which takes vectors twice the instructions."""

from typing import Any

from numba import types
from numba.extending import intrinsic


def _right(_context: Any, value: Any, count: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.lshr(*args)

    return types.uint32(types.uint32, types.uint32), generate


right_shift: Any = intrinsic(_right)
"""uint32 >> uint32 in 0..31 -> uint32; a constant of numba's kernels only."""
