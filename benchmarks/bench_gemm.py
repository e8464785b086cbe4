"""Throughput of the integer matmul: every rung, numpy float64 BLAS beside it, one thread.

Results are compared with int64 before anything is timed. Times are CPU time of this thread, the
median of interleaved repeats, so that a busy machine disturbs all columns alike.
"""

import argparse
import os
from collections.abc import Callable
from statistics import median
from time import thread_time

# before numpy loads its BLAS: one thread, as the kernels here use one
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hwq.numerics.accumulator import check_accumulator
from hwq.numerics.gemm import available_rungs, gemm, gemm_reference, pack

SHAPES = {  # M, K, N of DeiT-S, one image
    "qkv": (197, 384, 1152),
    "fc1": (197, 384, 1536),
    "fc2": (197, 1536, 384),
    "q.k^T": (197, 64, 197),
    "A.V": (197, 197, 64),
    "head": (1, 384, 1000),
}
DTYPES = {"uint8": np.uint8, "int8": np.int8, "int16": np.int16}
MAX_INT16 = 10_000  # so that K = 1536 stays inside the accumulator


def operands(m: int, k: int, n: int, dtype: str) -> tuple[NDArray[np.integer], NDArray[np.int8]]:
    rng = np.random.default_rng(0)
    info = np.iinfo(DTYPES[dtype])
    low, high = max(int(info.min), -MAX_INT16), min(int(info.max), MAX_INT16)
    check_accumulator(k, max(-low, high), 128)
    a = rng.integers(low, high, (m, k), DTYPES[dtype], endpoint=True)
    return a, rng.integers(-128, 127, (k, n), np.int8, endpoint=True)


def contestants(
    a: NDArray[np.integer], b: NDArray[np.int8], dynamic: bool
) -> dict[str, Callable[[], NDArray[np.generic]]]:
    """Name -> call; `dynamic` packs the second operand in every call, as attention has to."""
    calls: dict[str, Callable[[], NDArray[np.generic]]] = {}
    for rung in available_rungs():
        packed = pack(b, rung)
        if dynamic:
            calls[rung] = lambda rung=rung: gemm(a, pack(b, rung))
        else:
            calls[rung] = lambda packed=packed: gemm(a, packed)
    wide_b = b.astype(np.float64)
    calls["float64"] = lambda: a.astype(np.float64) @ wide_b
    return calls


def measure(calls: dict[str, Callable[[], object]], repeats: int, inner: int) -> dict[str, float]:
    """Name -> median seconds of one call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = thread_time()
            for _ in range(inner):
                call()
            times[name].append((thread_time() - begin) / inner)
    return {name: median(samples) for name, samples in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1, help="images: multiplies M (default 1)")
    parser.add_argument("--repeats", type=int, default=15, help="samples per cell (default 15)")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="only these (default all)")
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="only these (default all)")
    arguments = parser.parse_args()
    names = [*available_rungs(), "float64"]
    print(f"{'shape':7}{'M x K x N':>18}{'a':>7}", *(f"{name:>9}" for name in names), end="")
    print("   GOP/s; ratios:", ", ".join(f"{names[0]}/{name}" for name in names[1:]))
    for label in arguments.shape or SHAPES:
        m, k, n = SHAPES[label]
        m *= arguments.batch
        inner = max(1, 20_000_000 // (m * k * n))
        for dtype in arguments.dtype or DTYPES:
            a, b = operands(m, k, n, dtype)
            calls = contestants(a, b, dynamic=label in ("q.k^T", "A.V"))
            expected = gemm_reference(a, b)
            for call in calls.values():
                assert_array_equal(call(), expected)
            seconds = measure(calls, arguments.repeats, inner)
            rates = [2e-9 * m * k * n / seconds[name] for name in names]
            print(f"{label:7}{f'{m} x {k} x {n}':>18}{dtype:>7}", end=" ")
            print(*(f"{rate:9.0f}" for rate in rates), end="          ")
            print(*(f"{rates[0] / rate:6.1f}" for rate in rates[1:]))


if __name__ == "__main__":
    main()
