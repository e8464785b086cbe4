"""The most that this processor's multiply instruction can do: registers only, no memory."""

from statistics import median
from time import perf_counter
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hwq.numerics._rung import RUNGS
from hwq.numerics._tile import _Tile

_STEPS = 200_000


SHAPES = ((24, 1, 2), (16, 4, 4), (12, 1, 1), (8, 4, 2), (6, 3, 2), (4, 2, 2), (4, 4, 1))
"""Sums, and operands a and b: what fits the registers of one processor does not fit another's."""


def _make(words: bool, shape: tuple[int, int, int]) -> Any:
    def spin(_context: Any, rung: Any, steps: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            chosen = RUNGS[rung.ndim - 1]
            tile = _Tile(builder, chosen, chosen.rows, words)
            sums_count, a_count, b_count = shape
            i32, i64 = ir.IntType(32), ir.IntType(64)
            seed = builder.trunc(args[1], i32)
            rows = [tile._spread(builder.add(seed, i32(r))) for r in range(a_count)]
            firsts = [tile._spread(builder.add(seed, i32(-v))) for v in range(b_count)]
            entry, loop = builder.block, builder.append_basic_block("loop")
            done = builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(i64)
            step.add_incoming(i64(0), entry)
            sums = [builder.phi(tile.accumulator) for _ in range(sums_count)]
            panel = [builder.phi(tile.lanes) for _ in firsts]
            one = ir.Constant(tile.lanes, [1] * tile.lanes.count)
            for b, first in zip(panel, firsts, strict=True):
                # an operand that changes, or products would leave the loop
                b.add_incoming(first, entry)
                b.add_incoming(builder.add(b, one), loop)
            kind = tile.pairs if words else tile.lanes
            add = tile._add_words if words else tile._add_short if tile.short else tile._add_bytes
            pairs = [(a, b) for a in rows for b in panel] * sums_count
            new = [
                add(total, a, builder.bitcast(b, kind))
                for total, (a, b) in zip(sums, pairs, strict=False)
            ]
            following = builder.add(step, i64(1))
            step.add_incoming(following, loop)
            for total, final in zip(sums, new, strict=True):
                total.add_incoming(ir.Constant(tile.accumulator, None), entry)
                total.add_incoming(final, loop)
            builder.cbranch(builder.icmp_signed("<", following, args[1]), loop, done)
            builder.position_at_end(done)
            total = new[0]
            for other in new[1:]:
                total = builder.xor(total, other)
            return builder.zext(
                builder.extract_element(builder.bitcast(total, tile.lanes), i32(0)),
                i64,
            )

        return types.int64(rung, types.int64), generate

    return intrinsic(spin)


def _kernel(words: bool, shape: tuple[int, int, int]) -> Any:
    spin = _make(words, shape)

    # not kept: the key of a kernel's cache does not see what an intrinsic closes over
    @numba.njit
    def run(rung: Any, steps: int) -> int:
        return spin(rung, steps)

    return run


def peak_gops(name: str, words: bool) -> float:
    """Return 10**9 operations a second, an addition and a multiplication counted as two."""
    rung = next(rung for rung in RUNGS if rung.name == name)
    best = 0.0
    for shape in SHAPES:
        sums, a_count, b_count = shape
        if rung.dot == "madd" and sums > a_count * b_count:
            continue  # products that are alike would be made once
        run, seconds = _kernel(words, shape), []
        for _ in range(15):
            start = perf_counter()
            run(rung.tag, np.int64(_STEPS))
            seconds.append(perf_counter() - start)
        products = _STEPS * sums * rung.lanes * (2 if words else 4)
        best = max(best, 2 * products / median(seconds[1:]) / 1e9)
    return best
