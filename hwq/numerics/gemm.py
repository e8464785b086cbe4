"""Exact integer matrix product: int8 weights packed once, 8 or 16-bit activations, int32 sums."""

import warnings
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np
from numba.core.registry import cpu_target
from numba.extending import is_jitted
from numpy.typing import NDArray

from hwq.errors import HwqError, require
from hwq.numerics import _product
from hwq.numerics._rung import GROUP, RUNGS, Rung
from hwq.numerics.unit import ceil_div

MAX_SHORT = (1 << 15) - 1
"""Largest 16-bit sum."""

SHORTEST_RUN = 3
"""Steps between two widenings, below which words are faster than bytes."""

_DTYPES = (np.uint8, np.int8, np.int16)


def gemm_reference(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """int[M, K] . int[K, N] -> int64[M, N], by numpy in int64."""
    product: NDArray[np.int64] = np.matmul(a.astype(np.int64), b.astype(np.int64))
    return product


def byte_run(rung: Rung, span: int, pair: int, steps: int) -> int:
    """Return how many steps of bytes of A may be summed before sums are widened.

    0 where A must be words: its values span more than 8 bits, or 16-bit sums would be widened so
    often that words are faster.

    Parameters
    ----------
    rung : Rung
    span : int
        Largest value of A, whose least is 0.
    pair : int
        Largest sum of two neighbours' magnitudes in a column of B.
    steps : int
        Steps of the product, which is as long as a run need be.
    """
    if span > 255:
        return 0
    if rung.dot != "madd":
        return steps
    run = min(MAX_SHORT // max(span * pair, 1), steps)
    return run if run >= min(SHORTEST_RUN, steps) else 0


@dataclass(frozen=True, slots=True, eq=False)
class PackedOperand:
    """int8[K, N] in the order in which a rung reads it; made by `pack`.

    Parameters
    ----------
    rung : Rung
        The implementation that it is for.
    k, n : int
        Rows and columns of the operand.
    panels : int8[P, ceil(K/4), columns, 4]
        Zero padded; P panels of the rung's columns.
    sums : int32[P * columns]
        Sum of every column.
    pair : int
        Largest sum of two neighbours' magnitudes in a column.
    """

    rung: Rung
    k: int
    n: int
    panels: NDArray[np.int8] = field(repr=False)
    sums: NDArray[np.int32] = field(repr=False)
    pair: int

    def byte_run(self, low: int, high: int) -> int:
        """Return `byte_run` for codes in low..high less low."""
        return byte_run(self.rung, high - low, self.pair, self.panels.shape[1])

    def block(self, low: int, high: int) -> NDArray[np.integer]:
        """Return room for BLOCK rows of A as the instruction reads them: uint8 or int16[48, 4S]."""
        kind = np.uint8 if self.byte_run(low, high) else np.int16
        return np.empty((_product.BLOCK, GROUP * self.panels.shape[1]), kind)

    def right(self, low: int, high: int) -> _product.Right:
        """Return what such a block is multiplied by: bytes have lost `low`."""
        run = self.byte_run(low, high)
        return self.panels, self.sums * np.int32(low if run else 0), run


def pack(b: NDArray[np.int8], rung: str | None = None) -> PackedOperand:
    """int8[K, N] -> PackedOperand, for any number of products.

    Parameters
    ----------
    b : int8[K, N]
        Any memory layout; C and Fortran order are read without a copy.
    rung : str, optional
        Name of one of `RUNGS`; by default `best_rung()`. Results do not depend on it.
    """
    require(b.dtype == np.int8, f"b must be int8, not {b.dtype}")
    require(b.ndim == 2 and b.shape[0] >= 1, f"b must be [K >= 1, N], not {b.shape}")
    names = [known.name for known in RUNGS]
    name = best_rung() if rung is None else rung
    require(name in names, f"rung must be one of {', '.join(names)}, not {name}")
    chosen = RUNGS[names.index(name)]
    (k, n), columns = b.shape, chosen.columns
    panels = np.empty((ceil_div(n, columns), ceil_div(k, GROUP), columns, GROUP), np.int8)
    if b.flags.c_contiguous or not b.flags.f_contiguous:
        _product.pack_rows(np.ascontiguousarray(b), panels)
    else:
        _product.pack_columns(b.T, panels)
    sums = np.empty(panels.shape[0] * columns, np.int32)
    _product.column_sums(panels, sums)
    return PackedOperand(chosen, k, n, panels, sums, _product.largest_pair(panels))


def gemm(
    a: NDArray[np.integer], packed: PackedOperand, codes: tuple[int, int] | None = None
) -> NDArray[np.int32]:
    """uint8, int8 or int16[M, K] . packed int8[K, N] -> int32[M, N].

    out[m, n] = sum_k a[m, k] * b[k, n], exact if every sum fits in int32, which the caller shows
    with `check_accumulator`; partial sums may pass the limit, as arithmetic is modulo 2**32.

    Parameters
    ----------
    a : uint8, int8 or int16[M, K]
    packed : PackedOperand
    codes : tuple of int, optional
        Least and most of a; by default what its type holds. Fewer bits are faster.
    """
    require(a.dtype in _DTYPES, f"a must be uint8, int8 or int16, not {a.dtype}")
    require(a.ndim == 2 and a.shape[1] == packed.k, f"a must be [M, {packed.k}], not {a.shape}")
    if a.shape[0] == 0 or packed.n == 0:
        return np.zeros((a.shape[0], packed.n), np.int32)
    info = np.iinfo(a.dtype)
    low, high = (int(info.min), int(info.max)) if codes is None else codes
    if codes is not None:
        least, most = int(a.min()), int(a.max())
        require(low <= least and most <= high, f"a must be in {low}..{high}, not {least}..{most}")
    block, right = packed.block(low, high), packed.right(low, high)
    rows = np.ascontiguousarray(a)
    if rows.dtype == np.int8:
        rows = rows.view(np.uint8)
    return _product.multiply(packed.rung.tag, rows, low, block, right, packed.n)


@cache
def available_rungs() -> tuple[str, ...]:
    """Return the rungs that numba's target offers and that pass their self-test, fastest first."""
    return tuple(rung.name for rung in RUNGS if _is_usable(rung))


@cache
def best_rung() -> str:
    """Return the first of `RUNGS` that numba's target offers and that passes its self-test."""
    for rung in RUNGS:
        if _is_usable(rung):
            return rung.name
    tried = ", ".join(rung.name for rung in RUNGS)
    raise HwqError(f"no integer matmul gives exact results here; tried: {tried}")


def _is_usable(rung: Rung) -> bool:
    if not _is_supported(rung):
        return False
    if not _passes_self_test(rung):
        warnings.warn(
            f"{rung.name} multiplies wrongly on this processor and is not used; "
            "please report it with the processor's name",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


def _is_supported(rung: Rung) -> bool:
    """Whether numba's target, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES included, has the features.

    An instruction that the target lacks would abort the process, so this comes before compiling.
    """
    if not rung.features:
        return True
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return is_jitted(_product.multiply) and rung.features <= set(features.split(","))


@cache
def _passes_self_test(rung: Rung) -> bool:
    """Whether random and extreme operands of every type, and of few bits, sum as in int64."""
    rng = np.random.default_rng(0)
    ranges = [(0, 255), (-128, 127), (-32768, 32767), (0, 15), (-32, 31)]
    for (low, high), (m, k, n) in product(ranges, ((14, 67, 33), (3, 8, 5))):
        dtype = next(
            kind for kind in _DTYPES if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max
        )
        random = rng.integers(low, high, (m, k), dtype, endpoint=True)
        extreme: NDArray[np.integer] = np.where(random > 0, high, low).astype(dtype)
        # as few bits as the codes have, so that every instruction of the rung is tried
        most = 127 if high - low >= 255 else high
        b = rng.integers(-most - 1, most, (k, n), np.int8, endpoint=True)
        b[:, ::2] = np.where(b[:, ::2] > 0, most, -most - 1)
        b[:, 1] = -most - 1
        for right in (b, np.full_like(b, -most - 1)):
            packed = pack(right, rung.name)
            for a in (random, extreme):
                if not np.array_equal(gemm(a, packed, (low, high)), gemm_reference(a, right)):
                    return False
    return True
