"""Elements and products that the benches of arrays run."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from hwq.numerics.array import ArraySpec
from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, SHIFT, SHIFT_PARITY, PeSpec
from hwq.sim.array import Product

PES = {
    "multiply": PeSpec(MULTIPLY, significand=(*range(128), *range(-128, 0))),
    "shift": PeSpec(SHIFT, 4, 8, 32, (1,) * 15 + (0,), (*range(14, -1, -1), 0)),
    "shift_parity": PeSpec(
        SHIFT_PARITY,
        4,
        8,
        32,
        (1,) * 15 + (0,),
        tuple((15 - code) // 2 for code in range(16)),
        (0, 1) * 8,
    ),
    "multiply_shift": PeSpec(
        MULTIPLY_SHIFT, 8, 8, 32, (*range(128), *range(128)), (0,) * 128 + (3,) * 128
    ),
}


def shapes(rows: int, columns: int, count: int, seed: int) -> list[tuple[int, int, int]]:
    """M, K, N: 1, and around once and twice the array's edges; the corners of the range first."""
    near = {e * f + d for e in (rows, columns) for f in (1, 2) for d in (-1, 0, 1)}
    edges = sorted({1, 2, 5, 7, 2 * rows + columns} | near - {0})
    ends = (1, edges[-1])
    chosen = dict.fromkeys(product(ends, ends, ends))
    every = np.random.default_rng(seed).permutation(list(product(edges, edges, edges)))
    chosen |= dict.fromkeys((m, k, n) for m, k, n in every.tolist())
    return list(chosen)[:count]


def matrices(spec: ArraySpec, rng: np.random.Generator, m: int, k: int, n: int) -> Product:
    """Random operands with extremes; a quarter of those of several K in two tiles."""
    half = 1 << (spec.pe.b_bits - 1)
    a = rng.integers(0, 1 << spec.pe.a_bits, (m, k))
    b = rng.choice([-half, half - 1, *rng.integers(-half, half, 6)], (k, n))
    tiles: Sequence[int] = ()
    if k > 1 and rng.random() < 0.25:
        first = int(rng.integers(1, k))
        tiles = (first, k - first)
    return Product(a, b, tiles)
