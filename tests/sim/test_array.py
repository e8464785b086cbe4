"""Arrays in the simulator: every product by numpy, every cycle by the cost model."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.numerics.array import DATAFLOWS, ArraySpec
from hwq.numerics.gemm import gemm, pack
from hwq.rtl.array import Array
from hwq.sim.array import CycleModel, Run, run_arrays
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


def test_what_the_bench_compares_with_is_numpys_and_gemms() -> None:
    spec = ArraySpec(8, 8, pe=PES["multiply"])
    rng = np.random.default_rng(0)
    for shape in shapes(8, 8, 100, 0):
        one = matrices(spec, rng, *shape)
        codes, b = one.a.astype(np.uint8).view(np.int8), one.b.astype(np.int8)
        got = spec.compute(one.a, one.b)[0]
        assert (got == codes.astype(np.int64) @ one.b).all()
        assert (got == gemm(codes, pack(b))).all()
