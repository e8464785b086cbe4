"""Arrays in the simulator: every product by numpy, every cycle by the cost model."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.numerics.array import DATAFLOWS, ArraySpec
from hwq.numerics.gemm import gemm, pack
from hwq.rtl.array import Array
from hwq.sim.array import CycleModel, Run, run_arrays
from hwq.sim.array_cases import PES, matrices, shapes
from hwq.sim.bank import Bank
from hwq.sim.component import build_components

SIZES = [(1, 1), (3, 5), (8, 4)]
LARGE = (8, 8)
CASES = [(pe, dataflow, size) for pe in PES for dataflow in DATAFLOWS for size in SIZES]
CASES += [("multiply", dataflow, LARGE) for dataflow in DATAFLOWS]


def array_name(pe: str, dataflow: str, size: tuple[int, int]) -> str:
    return f"{pe}_{dataflow}_{size[0]}x{size[1]}"


@cache
def arrays(pe: str, dataflow: str) -> dict[str, Array]:
    """Return the arrays of one kind, by name."""
    return {
        array_name(*case): Array(
            ArraySpec(*case[2], dataflow, PES[pe], 128, 128, 128, extent_bits=8)
        )
        for case in CASES
        if case[:2] == (pe, dataflow)
    }


@cache
def bank(simulator: str, pe: str, dataflow: str) -> Bank:
    return build_components(simulator, arrays(pe, dataflow))


@pytest.mark.parametrize(("pe", "dataflow", "size"), CASES, ids=[array_name(*c) for c in CASES])
def test_array_equals_numerics_and_cost_model(
    pe: str,
    dataflow: str,
    size: tuple[int, int],
    simulator: str,
    cycle_model: CycleModel,
    tmp_path: Path,
) -> None:
    name = array_name(pe, dataflow, size)
    array = arrays(pe, dataflow)[name]
    rng = np.random.default_rng(1)
    products = [matrices(array.spec, rng, *shape) for shape in shapes(*size, 100, 0)]
    assert len(products) >= 100
    run = Run(name, array, products)
    assert run_arrays(bank(simulator, pe, dataflow), [run], cycle_model, tmp_path) == [None]


def test_what_the_bench_compares_with_is_numpys_and_gemms() -> None:
    spec = ArraySpec(8, 8, pe=PES["multiply"])
    rng = np.random.default_rng(0)
    for shape in shapes(8, 8, 100, 0):
        one = matrices(spec, rng, *shape)
        codes, b = one.a.astype(np.uint8).view(np.int8), one.b.astype(np.int8)
        got = spec.compute(one.a, one.b)[0]
        assert (got == codes.astype(np.int64) @ one.b).all()
        assert (got == gemm(codes, pack(b))).all()
