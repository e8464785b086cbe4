import csv
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwq.arch.kinds import DATAFLOWS
from hwq.cost.systolic import map_matmul, matmul_cycles, utilization

GOLDEN = Path(__file__).parents[1] / "golden" / "scalesim"
DATAFLOW = {name[0] + "s": name for name in DATAFLOWS}
DEIT_S_32X32 = {
    "output_stationary": 5_996_726,
    "weight_stationary": 6_740_638,
    "input_stationary": 6_252_118,
}


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def gemm_rows():
    rows = read(os.environ.get("HWQ_SCALESIM_GOLDEN", GOLDEN / "gemm_table.csv"))
    assert rows
    return rows


def shape(row):
    return tuple(int(row[column]) for column in ("M", "N", "K"))


def test_cycles_of_every_gemm_equal_scalesim():
    for row in gemm_rows():
        array = int(row["rows"]), int(row["cols"])
        cycles = matmul_cycles(*shape(row), *array, DATAFLOW[row["dataflow"]], "scalesim")
        assert cycles == int(row["cycles"]), row


def test_utilization_and_mapping_efficiency_of_every_gemm_equal_scalesim():
    for row in gemm_rows():
        m, n, k = shape(row)
        array = int(row["rows"]), int(row["cols"])
        percent = 100 * utilization(m * n * k, int(row["cycles"]), *array)
        assert percent == pytest.approx(float(row["util"]), rel=1e-12)
        mapping = map_matmul(m, n, k, *array, DATAFLOW[row["dataflow"]])
        assert 100 * mapping.efficiency == pytest.approx(float(row["mapping_eff"]), rel=1e-12)


def test_deit_s_layers_equal_scalesim():
    rows = read(GOLDEN / "deit_s.csv")
    assert len(rows) == 48
    for row in rows:
        m, n, k = shape(row)
        array = tuple(map(int, row["array"].split("x")))
        dataflow = DATAFLOW[row["dataflow"]]
        cycles = matmul_cycles(m, n, k, *array, dataflow, "scalesim")
        assert cycles == int(row["cycles"]), row
        percent = 100 * utilization(m * n * k, cycles, *array)
        assert percent == pytest.approx(float(row["overall_util"]), rel=1e-12)
        mapping = map_matmul(m, n, k, *array, dataflow)
        assert 100 * mapping.efficiency == pytest.approx(float(row["mapping_eff"]), rel=1e-12)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_deit_s_on_32x32(dataflow):
    rows = [row for row in read(GOLDEN / "deit_s.csv") if row["array"] == "32x32"]
    layers = [row for row in rows if DATAFLOW[row["dataflow"]] == dataflow]
    total = sum(
        int(row["count"]) * matmul_cycles(*shape(row), 32, 32, dataflow, "scalesim")
        for row in layers
    )
    assert sum(int(row["count"]) for row in layers) == 194
    assert total == DEIT_S_32X32[dataflow]


def last_cycle_of_one_output_fold(rows, columns, k):
    """Index of the cycle in which the last PE of an output-stationary fold does its last MAC."""
    return max(r + c + i for r in range(rows) for c in range(columns) for i in range(k))


@pytest.mark.parametrize(("rows", "columns", "k"), [(1, 1, 1), (2, 3, 4), (8, 8, 5)])
def test_a_fold_counts_cycles_not_the_last_index(rows, columns, k):
    last = last_cycle_of_one_output_fold(rows, columns, k)
    assert matmul_cycles(rows, columns, k, rows, columns, "output_stationary") == last + 1
    assert matmul_cycles(rows, columns, k, rows, columns, "output_stationary", "scalesim") == last


extent = st.integers(1, 300)


@given(extent, extent, extent, st.integers(1, 40), st.integers(1, 40), st.sampled_from(DATAFLOWS))
def test_utilization_never_exceeds_mapping_efficiency(m, n, k, rows, columns, dataflow):
    cycles = matmul_cycles(m, n, k, rows, columns, dataflow)
    efficiency = map_matmul(m, n, k, rows, columns, dataflow).efficiency
    assert 0 < utilization(m * n * k, cycles, rows, columns) <= efficiency <= 1


def test_no_cycles_mean_no_utilization():
    assert utilization(0, 0, 8, 8) == 0.0
