"""Arrays in the simulator: every product by numpy, every cycle by the cost model."""

from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.cost.systolic import matmul_cycles
from hwq.numerics.array import DATAFLOWS, ArraySpec
from hwq.numerics.gemm import gemm, pack
from hwq.numerics.pe import PeSpec
from hwq.rtl.array import Array
from hwq.sim.array import Product, run_array
from hwq.sim.bank import Bank
from hwq.sim.component import build_components

SIZES = [(1, 1), (3, 5), (8, 4)]
LARGE = (8, 8)
PES = {
    "multiply": PeSpec("multiply", significand=(*range(128), *range(-128, 0))),
    "shift": PeSpec("shift", 4, 8, 32, (1,) * 15 + (0,), (*range(14, -1, -1), 0)),
    "shift_parity": PeSpec(
        "shift_parity",
        4,
        8,
        32,
        (1,) * 15 + (0,),
        tuple((15 - code) // 2 for code in range(16)),
        (0, 1) * 8,
    ),
    "multiply_shift": PeSpec(
        "multiply_shift", 8, 8, 32, (*range(128), *range(128)), (0,) * 128 + (3,) * 128
    ),
}
CASES = [(pe, dataflow, size) for pe in PES for dataflow in DATAFLOWS for size in SIZES]
CASES += [("multiply", dataflow, LARGE) for dataflow in DATAFLOWS]


def array_name(pe: str, dataflow: str, size: tuple[int, int]) -> str:
    return f"{pe}_{dataflow}_{size[0]}x{size[1]}"


@cache
def arrays() -> dict[str, Array]:
    return {
        array_name(pe, dataflow, size): Array(
            ArraySpec(*size, dataflow, PES[pe], 128, 128, 128, extent_bits=8)
        )
        for pe, dataflow, size in CASES
    }


@cache
def bank(simulator: str) -> Bank:
    return build_components(simulator, arrays())


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
    """Random operands with extremes; every other product of several K in two tiles."""
    half = 1 << (spec.pe.b_bits - 1)
    a = rng.integers(0, 1 << spec.pe.a_bits, (m, k))
    b = rng.choice([-half, half - 1, *rng.integers(-half, half, 6)], (k, n))
    tiles: Sequence[int] = ()
    if k > 1 and rng.random() < 0.25:
        first = int(rng.integers(1, k))
        tiles = (first, k - first)
    return Product(a, b, tiles)


@pytest.mark.parametrize(("pe", "dataflow", "size"), CASES, ids=[array_name(*c) for c in CASES])
def test_array_equals_numerics_and_cost_model(
    pe: str, dataflow: str, size: tuple[int, int], simulator: str, tmp_path: Path
) -> None:
    name = array_name(pe, dataflow, size)
    array = arrays()[name]
    rng = np.random.default_rng(1)
    products = [matrices(array.spec, rng, *shape) for shape in shapes(*size, 100, 0)]
    assert len(products) >= 100
    measured = run_array(bank(simulator), name, array, products, tmp_path)
    for one, cycles in zip(products, measured, strict=True):
        m, n = one.a.shape[0], one.b.shape[1]
        tiles = one.k_tiles or [one.a.shape[1]]
        want = [matmul_cycles(m, n, k, *size, dataflow, "rtl") for k in tiles]
        assert cycles == want, (m, n, one.k_tiles)


def test_what_the_bench_compares_with_is_numpys_and_gemms() -> None:
    spec = ArraySpec(8, 8, pe=PES["multiply"])
    rng = np.random.default_rng(0)
    for shape in shapes(8, 8, 100, 0):
        one = matrices(spec, rng, *shape)
        codes, b = one.a.astype(np.uint8).view(np.int8), one.b.astype(np.int8)
        got = spec.compute(one.a, one.b)[0]
        assert (got == codes.astype(np.int64) @ one.b).all()
        assert (got == gemm(codes, pack(b))).all()
