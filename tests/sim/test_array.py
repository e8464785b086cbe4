"""Arrays in the simulator: every product by numpy, every cycle by the cost model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.numerics.array import DATAFLOWS, ArraySpec
from hwq.numerics.gemm import gemm, pack
from hwq.rtl.array import Array
from hwq.sim.array import CycleModel, Product, Run, run_arrays
from hwq.sim.array_cases import PES, matrices, shapes
from hwq.sim.component import build_components

SIZES = [(1, 1), (3, 5), (8, 4)]
LARGE = (8, 8)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("pe", PES)
def test_array_equals_numerics_and_cost_model(
    pe: str, dataflow: str, simulator: str, cycle_model: CycleModel, tmp_path: Path
) -> None:
    sizes = [*SIZES, LARGE] if pe == "multiply" else SIZES
    arrays, runs = {}, []
    for rows, columns in sizes:
        spec = ArraySpec(rows, columns, dataflow, PES[pe], 128, 128, 128, extent_bits=8)
        name, rng = f"array_{rows}x{columns}", np.random.default_rng(1)
        products = [matrices(spec, rng, *s) for s in shapes(rows, columns, 100, 0)]
        assert len(products) >= 100
        arrays[name] = Array(spec)
        runs.append(Run(name, arrays[name], products))
    bank = build_components(simulator, arrays)
    assert run_arrays(bank, runs, cycle_model, tmp_path) == [None] * len(sizes)


def counted(rows: int, columns: int) -> np.ndarray:
    """b[i, j] = i: a word from a wrong address is seen, as it is not in random data."""
    return np.broadcast_to(np.arange(rows)[:, np.newaxis], (rows, columns)).copy()


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_small_and_odd_shapes(
    dataflow: str, simulator: str, cycle_model: CycleModel, tmp_path: Path
) -> None:
    """The identity times counted rows; 3 x 3 x 3 twice, the second with what the first gave."""
    arrays, runs = {}, []
    sizes = [(4, 8), (16, 1), (8, 8)] + [(16, 16)] * (dataflow == "weight_stationary")
    for rows, columns in sizes:
        spec = ArraySpec(rows, columns, dataflow, PES["multiply"], 2048, 2048, 2048, extent_bits=8)
        name, rng = f"array_{rows}x{columns}", np.random.default_rng(0)
        arrays[name] = Array(spec)
        identities = [
            Product(np.eye(k, dtype=np.int64), counted(k, n))
            for k, n in ((1, 1), (3, 3), (rows, columns), (2 * rows + 1, columns + 1), (17, 5))
        ]
        first = Product(rng.integers(0, 5, (3, 3)), rng.integers(-2, 3, (3, 3)))
        second = Product((first.a @ first.b) & 0xFF, counted(3, 3))
        runs.append(Run(name, arrays[name], [*identities, first, second, first, second]))
    bank = build_components(simulator, arrays)
    assert run_arrays(bank, runs, cycle_model, tmp_path) == [None] * len(runs)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_memories_filled_to_their_last_word(
    dataflow: str, simulator: str, cycle_model: CycleModel, tmp_path: Path
) -> None:
    m, k, n = 12, 8, 20
    shape = ArraySpec(4, 4, dataflow, PES["multiply"])
    a, b = np.arange(m * k).reshape(m, k), counted(k, n)
    words = shape.a_words(a), shape.b_words(b), shape.result_words(shape.compute(a, b))
    depths = dict(zip(("a_depth", "b_depth", "result_depth"), map(len, words), strict=True))
    array = Array(replace(shape, extent_bits=8, **depths))
    bank = build_components(simulator, {"array": array})
    # twice: nothing that the first left matters
    runs = [Run("array", array, [Product(a, b), Product(255 - a, b), Product(a, b, (3, 5))])]
    assert run_arrays(bank, runs, cycle_model, tmp_path) == [None]


def test_what_the_bench_compares_with_is_numpys_and_gemms() -> None:
    spec = ArraySpec(8, 8, pe=PES["multiply"])
    rng = np.random.default_rng(0)
    for shape in shapes(8, 8, 100, 0):
        one = matrices(spec, rng, *shape)
        codes, b = one.a.astype(np.uint8).view(np.int8), one.b.astype(np.int8)
        got = spec.compute(one.a, one.b)[0]
        assert (got == codes.astype(np.int64) @ one.b).all()
        assert (got == gemm(codes, pack(b))).all()
