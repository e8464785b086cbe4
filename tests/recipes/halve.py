"""A unit: half of a 16-bit number, ties up, clamped to codes of 8 bits."""

from dataclasses import dataclass

import numpy as np

from hwq.numerics.unit import Unit, UnitTiming


def halve_reference(x: np.ndarray) -> tuple[np.ndarray, int]:
    """int[...] -> uint8[...], number of saturated elements: in Python integers."""
    wide = [(value + 1) // 2 for value in x.ravel().tolist()]
    held = [min(max(value, 0), 255) for value in wide]
    saturated = sum(h != w for h, w in zip(held, wide, strict=True))
    return np.array(held, np.uint8).reshape(x.shape), saturated


@dataclass(frozen=True, slots=True)
class HalveSpec:
    """y = clamp((x + 1) >> 1, 0, 255)."""

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """int[...] -> uint8[...], number of saturated elements."""
        wide = (x.astype(np.int64) + 1) >> 1
        held = np.clip(wide, 0, 255)
        return held.astype(np.uint8), int(np.count_nonzero(held != wide))

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """Same as `compute`, slowly."""
        return halve_reference(x)


def timing() -> UnitTiming:
    """Item: one value. One register."""
    return UnitTiming(latency_cycles=1, interval_cycles=1)


UNIT = Unit(
    "halve", HalveSpec, timing, ops=("encode",), work=(("int_add", 16, 16, 1),), streams=True
)
