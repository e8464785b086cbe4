"""Exact integer matrix product: int8 weights packed once, 8 or 16-bit activations, int32 sums."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numba.core.registry import cpu_target
from numba.extending import is_jitted
from numpy.typing import NDArray

from hwq.errors import HwqError, require
from hwq.numerics import _dot
from hwq.numerics._jit import kernel

RUNGS = ("vnni", "plain")
"""Implementations, fastest first. All give equal results."""

MAX_ACCUMULATOR = (1 << 31) - 1
_DTYPES = (np.uint8, np.int8, np.int16)
_VNNI_FEATURES = {"+avx512f", "+avx512bw", "+avx512vnni"}


def accumulator_bound(k: int, a_max_abs: int, b_max_abs: int) -> int:
    """Return the largest magnitude that a sum of k products can have: k * a_max_abs * b_max_abs.

    Examples
    --------
    >>> accumulator_bound(1536, 255, 128)
    50135040
    """
    return k * a_max_abs * b_max_abs


def check_accumulator(k: int, a_max_abs: int, b_max_abs: int) -> None:
    """Raise `SpecError` unless every sum of k products fits in an int32 accumulator."""
    bound = accumulator_bound(k, a_max_abs, b_max_abs)
    require(
        bound <= MAX_ACCUMULATOR,
        f"an accumulator must stay below 2**31, not reach {bound} "
        f"(K = {k}, |a| <= {a_max_abs}, |b| <= {b_max_abs}): take fewer bits",
    )


def longest_shift(k: int, b_bits: int) -> int:
    """Return the largest E <= 15 for which k products of 2**E and b_bits-bit codes always fit.

    Raises
    ------
    SpecError
        When not even products of 1 fit in an int32 accumulator.
    """
    largest = 1 << (b_bits - 1)
    check_accumulator(k, 1, largest)
    return min((MAX_ACCUMULATOR // (k * largest)).bit_length() - 1, 15)


def check_constant_operand(b: NDArray[np.integer], a_max_abs: int) -> None:
    """Raise `SpecError` unless every sum over int[K, N] fits, whatever a is within a_max_abs.

    Tighter than `check_accumulator`: no column of b is all extremes.
    """
    largest = int(np.abs(b.astype(np.int64)).sum(0).max()) if b.size else 0
    bound = accumulator_bound(1, a_max_abs, largest)
    require(
        bound <= MAX_ACCUMULATOR,
        f"an accumulator must stay below 2**31, not reach {bound} "
        f"(|a| <= {a_max_abs}, sum of |b| over a column <= {largest}): take fewer bits",
    )


def gemm_reference(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """int[M, K] . int[K, N] -> int64[M, N], by numpy in int64."""
    product: NDArray[np.int64] = np.matmul(a.astype(np.int64), b.astype(np.int64))
    return product


@kernel
def _dot_plain(a: NDArray[np.integer], b: NDArray[np.int8]) -> NDArray[np.int32]:
    """uint8, int8 or int16[M, K] . int8[N, K] -> int32[M, N], modulo 2**32."""
    out = np.empty((a.shape[0], b.shape[0]), np.int32)
    for m in range(a.shape[0]):
        for n in range(b.shape[0]):
            # |product| <= 2**22; the sum is below 2**31 by `check_accumulator`
            acc = np.int32(0)
            for k in range(a.shape[1]):
                acc = np.int32(acc + np.int32(a[m, k]) * np.int32(b[n, k]))
            out[m, n] = acc
    return out


@dataclass(frozen=True, slots=True, eq=False)
class PackedOperand:
    """int8[K, N] in the order in which a rung reads it; made by `pack`.

    Parameters
    ----------
    rung : str
        The implementation that it is for.
    k, n : int
        Rows and columns of the operand.
    panels : int8[...]
        vnni: [ceil(N/32), ceil(K/4), 32, 4], zero padded; plain: [N, K].
    start : int32[...]
        vnni: -128 times the sum of every column, zero padded to panels; plain: empty.
    """

    rung: str
    k: int
    n: int
    panels: NDArray[np.int8] = field(repr=False)
    start: NDArray[np.int32] = field(repr=False)


def pack(b: NDArray[np.int8], rung: str | None = None) -> PackedOperand:
    """int8[K, N] -> PackedOperand, for any number of products.

    Parameters
    ----------
    b : int8[K, N]
        Any memory layout; C and Fortran order are read without a copy.
    rung : {"vnni", "plain"}, optional
        The implementation; by default `best_rung()`. Results do not depend on it.
    """
    require(b.dtype == np.int8, f"b must be int8, not {b.dtype}")
    require(b.ndim == 2 and b.shape[0] >= 1, f"b must be [K >= 1, N], not {b.shape}")
    chosen = best_rung() if rung is None else rung
    require(chosen in RUNGS, f"rung must be one of {', '.join(RUNGS)}, not {chosen}")
    if chosen == "plain":
        panels, start = np.array(b.T, order="C"), np.zeros(0, np.int32)
    elif b.flags.c_contiguous or not b.flags.f_contiguous:
        panels, start = _dot._pack_rows(np.ascontiguousarray(b))
    else:
        panels, start = _dot._pack_columns(b.T)
    return PackedOperand(chosen, b.shape[0], b.shape[1], panels, start)


def gemm(a: NDArray[np.integer], packed: PackedOperand) -> NDArray[np.int32]:
    """uint8, int8 or int16[M, K] . packed int8[K, N] -> int32[M, N].

    out[m, n] = sum_k a[m, k] * b[k, n], exact if every sum fits in int32, which the caller shows
    with `check_accumulator`; partial sums may pass the limit, as arithmetic is modulo 2**32.
    """
    require(a.dtype in _DTYPES, f"a must be uint8, int8 or int16, not {a.dtype}")
    require(a.ndim == 2 and a.shape[1] == packed.k, f"a must be [M, {packed.k}], not {a.shape}")
    if a.shape[0] == 0 or packed.n == 0:
        return np.zeros((a.shape[0], packed.n), np.int32)
    if packed.rung == "plain":
        return _dot_plain(np.ascontiguousarray(a), packed.panels)
    steps = packed.panels.shape[1]
    start = packed.start if a.dtype == np.int8 else np.zeros_like(packed.start)
    if a.dtype == np.int16:
        words = _dot._pair_order(np.ascontiguousarray(a, np.int16), steps)
        return _dot._dot_vnni(words, packed.panels, start, packed.n)
    codes = _unsigned_rows(a, steps * _dot.GROUP)
    return _dot._dot_vnni(codes, packed.panels, start, packed.n)


def _unsigned_rows(a: NDArray[np.integer], depth: int) -> NDArray[np.uint8]:
    """uint8 or int8[M, K] -> uint8[M, depth]: int8 plus 128; behind K anything will do."""
    if a.dtype == np.uint8 and a.shape[1] == depth:
        return np.ascontiguousarray(a, np.uint8)
    rows = np.zeros((a.shape[0], depth), np.uint8)
    rows[:, : a.shape[1]] = a.astype(np.uint8, copy=False)
    # an int8 plus 128 is its byte with the top bit flipped
    return rows ^ np.uint8(128) if a.dtype == np.int8 else rows


@cache
def available_rungs() -> tuple[str, ...]:
    """Return the rungs that numba's target offers and that pass their self-test, fastest first."""
    return tuple(rung for rung in RUNGS if _is_supported(rung) and _passes_self_test(rung))


@cache
def best_rung() -> str:
    """Return the first of `RUNGS` that numba's target offers and that passes its self-test."""
    for rung in RUNGS:
        if _is_supported(rung) and _passes_self_test(rung):
            return rung
    raise HwqError(f"no integer matmul gives exact results here; tried: {', '.join(RUNGS)}")


def _is_supported(rung: str) -> bool:
    """Whether numba's target, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES included, has the features.

    An instruction that the target lacks would abort the process, so this comes before compiling.
    """
    if rung == "plain":
        return True
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return is_jitted(_dot_plain) and _VNNI_FEATURES <= set(features.split(","))


@cache
def _passes_self_test(rung: str) -> bool:
    """Whether random and extreme operands of every type give the sums of int64."""
    rng = np.random.default_rng(0)
    for dtype in _DTYPES:
        info = np.iinfo(dtype)
        for m, k, n in ((14, 67, 33), (3, 8, 5)):
            random = rng.integers(info.min, info.max, (m, k), dtype, endpoint=True)
            extreme: NDArray[np.integer] = np.where(random > 0, info.max, info.min).astype(dtype)
            for a in (random, extreme):
                b = rng.integers(-128, 127, (k, n), np.int8, endpoint=True)
                b[:, ::2] = np.where(b[:, ::2] > 0, 127, -128)
                b[:, 1] = -128
                if not np.array_equal(gemm(a, pack(b, rung)), gemm_reference(a, b)):
                    return False
    return True
