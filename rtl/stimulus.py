"""Test inputs for units whose operands are not all legal together."""

import numpy as np
from numpy.typing import NDArray


def values(rng: np.random.Generator, low: int, high: int, count: int) -> NDArray[np.int64]:
    """int64[count] in low..high: corners in half of them, of random magnitude in the rest.

    Corners are the ends, zero and the powers of two, and their neighbours; each comes at least
    once if `count` allows. Both ends are below 2**62 in magnitude. At most 256 values are all
    equally likely.
    """
    if high - low < 256:
        return rng.integers(low, high, count, endpoint=True)
    bits = max(-low, high, 1).bit_length()
    around = {0, low, high} | {sign * (1 << k) for k in range(bits) for sign in (1, -1)}
    near = {v + d for v in around for d in (-1, 0, 1)}
    corners = np.array(sorted(v for v in near if low <= v <= high), np.int64)
    magnitude = rng.integers(0, bits, count, endpoint=True)
    random = rng.integers(0, (1 << magnitude) - 1, endpoint=True)
    random = np.where(rng.random(count) < 0.5, ~random, random) if low < 0 else random
    drawn = np.where(rng.random(count) < 0.5, rng.choice(corners, count), random)
    drawn[rng.permutation(count)[: corners.size]] = corners[:count]
    return np.clip(drawn, low, high)
