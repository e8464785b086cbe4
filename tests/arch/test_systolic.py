import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.arch.systolic import map_matmul, matmul_cycles, utilization
from hwq.numerics.array import DATAFLOWS

DEIT_S_32X32 = {
    "output_stationary": 5_996_726,
    "weight_stationary": 6_740_638,
    "input_stationary": 6_252_118,
}


RTL_DEIT_S_32X32 = {
    "output_stationary": 5_165_044,
    "weight_stationary": 4_569_861,
    "input_stationary": 5_164_756,
}


def check_equal(rows, utilization_column):
    for (m, n, k), array, dataflow, row in rows:
        cycles = matmul_cycles(m, n, k, *array, dataflow, "scalesim")
        assert cycles == int(row["cycles"]), row
        percent = 100 * utilization(m * n * k, cycles, *array)
        assert percent == pytest.approx(float(row[utilization_column]), rel=1e-12), row
        efficiency = 100 * map_matmul(m, n, k, *array, dataflow).efficiency
        assert efficiency == pytest.approx(float(row["mapping_eff"]), rel=1e-12), row


def test_cycles_utilization_and_mapping_of_every_gemm_equal_scalesim(gemm_rows):
    check_equal(gemm_rows, "util")


def test_cycles_utilization_and_mapping_of_deit_s_equal_scalesim(deit_s_rows):
    assert len(deit_s_rows) == 48
    check_equal(deit_s_rows, "overall_util")


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_deit_s_on_32x32(dataflow, deit_s_rows):
    rows = [
        (shape, int(row["count"]))
        for shape, array, name, row in deit_s_rows
        if array == (32, 32) and name == dataflow
    ]
    assert sum(count for _, count in rows) == 194
    total = sum(
        count * matmul_cycles(*shape, 32, 32, dataflow, "scalesim") for shape, count in rows
    )
    assert total == DEIT_S_32X32[dataflow]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_deit_s_on_the_gateware_is_not_slower_than_scalesim(dataflow, deit_s_rows):
    """What overlap of folds is worth: the gateware does not wait for fill and drain."""
    rows = [
        (shape, int(row["count"]))
        for shape, array, name, row in deit_s_rows
        if array == (32, 32) and name == dataflow
    ]
    total = sum(count * matmul_cycles(*shape, 32, 32, dataflow, "rtl") for shape, count in rows)
    assert total == RTL_DEIT_S_32X32[dataflow] < DEIT_S_32X32[dataflow]


def events_of_the_gateware(m, n, k, rows, columns, dataflow):
    """Cycle after the last result's, fold after fold, by what each must wait for.

    Cycle 0 is that of `start`. A word is on its way from the cycle of its address: one later it
    leaves the memory, two later it is at the edge of the array.
    """
    row, column, stream = {
        "output_stationary": (m, n, k),
        "weight_stationary": (k, n, m),
        "input_stationary": (k, m, n),
    }[dataflow]
    folds = len(range(0, row, rows)) * len(range(0, column, columns))
    address = 1  # of the block, or of the first operands
    streamed = free = 0
    for fold in range(folds):
        if dataflow == "output_stationary":
            begin = address if fold == 0 else max(streamed, free - stream)
            streamed = begin + stream
            # sums are taken one cycle after the last operands; the rows before leave first
            free = streamed + rows
        else:
            loaded = address + rows
            begin = max(loaded, streamed)
            streamed = begin + stream
            # the block after is shifted in from the cycle in which this one is taken over
            address = max(begin, loaded)
    first_element = streamed - 1 + 2
    if dataflow == "output_stationary":
        taken = first_element + 1
        leaves = taken + rows - 1 + 1  # last row's, below it
        return leaves + (rows - 1) + (columns - 1) + 1
    leaves = first_element + rows
    return leaves + (columns - 1) + 1


shapes = st.tuples(*[st.integers(1, 70)] * 3, *[st.integers(1, 9)] * 2)


@settings(deadline=None)
@given(shapes, st.sampled_from(DATAFLOWS))
def test_the_closed_form_equals_the_events_of_the_gateware(shape, dataflow):
    assert matmul_cycles(*shape, dataflow, "rtl") == events_of_the_gateware(*shape, dataflow)


def last_cycle_of_one_output_fold(rows, columns, k):
    """Index of the cycle in which the last PE of an output-stationary fold does its last MAC."""
    return max(r + c + i for r in range(rows) for c in range(columns) for i in range(k))


@pytest.mark.parametrize(("rows", "columns", "k"), [(1, 1, 1), (2, 3, 4), (8, 8, 5)])
def test_a_fold_counts_cycles_not_the_last_index(rows, columns, k):
    last = last_cycle_of_one_output_fold(rows, columns, k)
    assert matmul_cycles(rows, columns, k, rows, columns, "output_stationary") == last + 1
    assert matmul_cycles(rows, columns, k, rows, columns, "output_stationary", "scalesim") == last


extent = st.integers(1, 300)


@settings(deadline=None)
@given(extent, extent, extent, st.integers(1, 40), st.integers(1, 40), st.sampled_from(DATAFLOWS))
def test_utilization_never_exceeds_mapping_efficiency(m, n, k, rows, columns, dataflow):
    cycles = matmul_cycles(m, n, k, rows, columns, dataflow)
    efficiency = map_matmul(m, n, k, rows, columns, dataflow).efficiency
    assert 0 < utilization(m * n * k, cycles, rows, columns) <= efficiency <= 1


def test_no_cycles_mean_no_utilization():
    assert utilization(0, 0, 8, 8) == 0.0
