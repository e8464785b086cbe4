import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.arch.accelerator import Array
from hwq.compiler.program import MatmulLayer, Operand, VectorLayer
from hwq.compiler.residency import Residency
from hwq.compiler.schedule import Schedule
from hwq.compiler.tiling import Tiling
from hwq.cost.traffic import BufferBits, Traffic, array_accesses, matmul_traffic, vector_traffic
from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import MULTIPLY, SHIFT_PARITY, PeSpec

ARRAY = Array(rows=8, cols=8)
NOTHING = Residency(frozenset(), frozenset(), (0,), 0)


def matmul(m=20, n=24, k=16, count=2, a_bits=8, b_bits=8, planes=1, constant=True):
    return MatmulLayer(
        "fc",
        m,
        n,
        k,
        count,
        PeSpec(SHIFT_PARITY if planes == 2 else MULTIPLY, a_bits, b_bits),
        Operand("x", count * m * k, a_bits),
        Operand("w", count * k * n, b_bits, constant),
        Operand("y", count * m * n, 8),
    )


def schedule(m=20, n=24, k=16, loads=(1, 1)):
    return Schedule(1, 1, Tiling(m, n, k, True), loads, 0, 0)


def test_an_outlier_reads_a_column_of_the_weight_and_adds_to_sums():
    weight, found = Operand("w", 4 * 64, 8, constant=True), Operand("found", 10, 40)
    out = Operand("joined", 20 * 64, 46)
    acc = Operand("acc", 20 * 64, 32)
    join = VectorLayer("join", "outlier_join", 10, 64, (acc, found, weight), out, fused=True)
    streamed = Residency(frozenset(), frozenset({"acc", "joined"}), (0,), 0)
    moved = vector_traffic(join, streamed)
    assert moved.weight == BufferBits(read=10 * 64 * 8, write=4 * 64 * 8)
    assert moved.output == BufferBits(read=10 * 64 * 46, write=10 * 64 * 46)


def test_accesses_of_every_gemm_equal_scalesim(gemm_rows):
    for (m, n, k), (rows, columns), dataflow, row in gemm_rows:
        accesses = array_accesses(m, n, k, rows, columns, dataflow)
        assert accesses.a_reads == int(row["sram_ifmap_reads"]), row
        assert accesses.b_reads == int(row["sram_filter_reads"]), row
        if dataflow == "output_stationary":  # its count has folds x (rows + columns) too many
            folds = -(-m // rows) * -(-n // columns)
            assert accesses.sum_writes + folds * (rows + columns) == int(row["sram_ofmap_writes"])
        else:
            assert accesses.sum_writes == int(row["sram_ofmap_writes"]), row
        assert accesses.sum_rereads == accesses.sum_writes - m * n


def test_dram_traffic_of_every_gemm_in_one_tile_equals_scalesim(gemm_rows):
    for (m, n, k), (rows, columns), dataflow, row in gemm_rows:
        array, layer = Array(rows=rows, cols=columns), matmul(m, n, k, count=1)
        moved = matmul_traffic(layer, array, dataflow, schedule(m, n, k), NOTHING)
        words = int(row["dram_ifmap_reads"]) + int(row["dram_filter_reads"])
        assert moved.dram.read == 8 * words, row
        assert moved.dram.write == 8 * m * n
        if dataflow == "output_stationary":  # under the others it sends partial sums to DRAM
            assert moved.dram.write == 8 * int(row["dram_ofmap_writes"])


def test_partial_sums_are_written_and_read_again():
    moved = matmul_traffic(matmul(), ARRAY, "weight_stationary", schedule(), NOTHING)
    results = 2 * 20 * 24
    folds_of_k = 2
    assert moved.output == BufferBits(
        read=32 * results * (folds_of_k - 1 + 1), write=32 * results * folds_of_k
    )


def test_cutting_the_stream_repeats_the_stationary_operand():
    whole, cut = schedule(), schedule(m=8)
    plain, repeated = (
        matmul_traffic(matmul(), ARRAY, "weight_stationary", plan, NOTHING).weight.read
        for plan in (whole, cut)
    )
    assert repeated == 3 * plain


def test_two_planes_move_two_accumulators():
    one, two = (
        matmul_traffic(matmul(planes=p), ARRAY, "output_stationary", schedule(), NOTHING).output
        for p in (1, 2)
    )
    assert two == BufferBits(2 * one.read, 2 * one.write)


def test_a_resident_operand_is_read_from_its_buffer_without_dram():
    resident = Residency(frozenset(), frozenset({"x", "w", "y"}), (0,), 0)
    moved = matmul_traffic(matmul(constant=False), ARRAY, "output_stationary", schedule(), resident)
    assert moved.dram == moved.weight == BufferBits()
    a, b = 3 * 2 * 20 * 16 * 8, 3 * 2 * 16 * 24 * 8
    assert moved.activation == BufferBits(read=a + b, write=2 * 20 * 24 * 8)


def test_resident_weights_stay_in_the_weight_buffer():
    resident = Residency(frozenset(), frozenset({"x", "y"}), (0,), 2 * 16 * 24 * 8)
    moved = matmul_traffic(matmul(), ARRAY, "output_stationary", schedule(), resident)
    assert moved.dram == BufferBits()
    assert moved.weight == BufferBits(read=3 * 2 * 16 * 24 * 8)


def test_an_operand_from_dram_fills_its_buffer_as_often_as_it_comes():
    moved = matmul_traffic(matmul(), ARRAY, "output_stationary", schedule(loads=(3, 2)), NOTHING)
    a, b = 2 * 20 * 16 * 8, 2 * 16 * 24 * 8
    assert moved.activation.write == 3 * a
    assert moved.weight.write == 2 * b
    assert moved.dram == BufferBits(read=3 * a + 2 * b, write=2 * 20 * 24 * 8)


def test_a_vector_layer_reads_once_and_not_what_streams_past():
    inputs = (Operand("acc", 60, 32), Operand("x", 60, 16), Operand("gamma", 10, 16, True))
    layer = VectorLayer("norm", "layer_norm", 6, 10, inputs, Operand("y", 60, 8))
    where = Residency(frozenset({"acc"}), frozenset({"x"}), (0,), 0)
    moved = vector_traffic(layer, where)
    assert moved == Traffic(
        activation=BufferBits(read=60 * 16),
        weight=BufferBits(read=6 * 10 * 16, write=10 * 16),
        dram=BufferBits(read=10 * 16, write=60 * 8),
    )
    assert moved.sram == BufferBits(60 * 16 + 6 * 160, 160)


extent, bits = st.integers(1, 60), st.integers(2, 8)


@settings(deadline=None)
@given(extent, extent, extent, st.integers(1, 3), bits, bits, st.sampled_from(DATAFLOWS))
def test_fewer_bits_never_move_more(m, n, k, count, a_bits, b_bits, dataflow):
    full, fewer = (
        matmul_traffic(layer, ARRAY, dataflow, schedule(m, n, k), NOTHING)
        for layer in (
            matmul(m, n, k, count),
            matmul(m, n, k, count, a_bits, b_bits),
        )
    )
    for level in ("activation", "weight", "output", "dram"):
        assert getattr(fewer, level).read <= getattr(full, level).read
        assert getattr(fewer, level).write <= getattr(full, level).write


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_four_bits_move_half_of_eight(dataflow):
    eight, four = (
        matmul_traffic(matmul(a_bits=b, b_bits=b), ARRAY, dataflow, schedule(), NOTHING)
        for b in (8, 4)
    )
    assert 2 * four.dram.read == eight.dram.read
    assert 2 * four.activation.read == eight.activation.read
    assert 2 * four.weight.read == eight.weight.read
    assert four.output == eight.output
