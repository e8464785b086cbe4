"""Attention as one kernel: scores exist for a block of rows of one head at a time."""

import numpy as np
from numpy.typing import NDArray

from hwq.numerics._jit import kernel
from hwq.numerics._product import BLOCK, column_sums, pack_columns, pack_rows
from hwq.numerics.softmax import LANES, softmax_row
from hwq.runtime.fused.kernels import (
    Array,
    Codes,
    Encoding,
    Left,
    Product,
    encode_rows,
    multiply_rescaled,
)
from hwq.runtime.fused.rescale import Rules, of_head


@kernel
def start_sums(panels: NDArray[np.int8], factor: int, start: NDArray[np.int32]) -> None:
    """Let sums start from `factor` times the sums over B's columns."""
    if factor == 0:
        start[:] = 0
        return
    column_sums(panels, start)
    for j in range(start.size):
        start[j] = np.int32(start[j] * np.int32(factor))


@kernel
def attend(
    operands: tuple[Codes, NDArray[np.int8], NDArray[np.int8]],
    lefts: tuple[Left, Left],
    products: tuple[Product, Product],
    factors: tuple[int, int],
    rules: tuple[Rules, Rules, int],
    encoding: Encoding,
    out: Array,
) -> tuple[int, int, int]:
    """Queries uint8[H, T, D], keys int8[H, S, D], values int8[H, S, E] -> out int[T, H*E].

    softmax(queries . keys^T) . values, head by head: scores are rescaled, taken to powers of two,
    encoded, multiplied and rescaled for a block of rows. Returns the saturated elements of scores,
    codes and results.
    """
    queries, keys, values = operands
    k_panels, k_start, _ = products[0][2]
    v_panels, v_start, _ = products[1][2]
    tokens, width, depth = queries.shape[1], keys.shape[1], values.shape[2]
    padded = (width + LANES - 1) // LANES * LANES
    scores = np.empty((BLOCK, padded), np.int16)
    powers = np.empty(padded, np.uint32)
    probabilities = np.empty((BLOCK, padded), np.uint16)
    codes = np.empty((BLOCK, width), np.uint8)
    results = np.empty((BLOCK, depth), out.dtype)
    saturated = np.zeros(3, np.int64)
    for h in range(queries.shape[0]):
        pack_columns(keys[h], k_panels)
        start_sums(k_panels, factors[0], k_start)
        pack_rows(values[h], v_panels)
        start_sums(v_panels, factors[1], v_start)
        score_rule, result_rule = of_head(rules[0], h), of_head(rules[1], h)
        for first in range(0, tokens, BLOCK):
            last = min(first + BLOCK, tokens)
            rows = last - first
            saturated[0] += multiply_rescaled(
                queries[h, first:last], lefts[0], products[0], score_rule, width, scores[:rows]
            )
            for r in range(rows):
                softmax_row(scores[r], width, rules[2], powers, probabilities[r])
            saturated[1] += encode_rows(probabilities, encoding, codes[:rows])
            saturated[2] += multiply_rescaled(
                codes[:rows], lefts[1], products[1], result_rule, depth, results[:rows]
            )
            for r in range(rows):
                for j in range(depth):
                    out[first + r, h * depth + j] = results[r, j]
    return saturated[0], saturated[1], saturated[2]
