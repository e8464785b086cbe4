from dataclasses import replace

import pytest

from hwq.arch.accelerator import Array
from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.cost.traffic import MemoryBits, array_accesses, pass_traffic, product_traffic
from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import MULTIPLY, SHIFT_PARITY, PeSpec
from hwq.numerics.unit import Field
from hwq.plan.layout import Grid
from hwq.plan.make_plan import make_plan
from tests.plan.machines import machine

ARRAY = Array(rows=8, columns=8)
ROOMY = machine(8, 8, (512.0, 512.0, 512.0))


def matmul(m=20, n=24, k=16, count=2, bits=8, planes=1, a="x"):
    pe = PeSpec(SHIFT_PARITY if planes == 2 else MULTIPLY, bits, bits)
    return MatmulLayer(
        "fc",
        m,
        n,
        k,
        count,
        pe,
        Operand(a, count * m * k, bits),
        Operand("w", count * k * n, bits, True),
        Operand("y", count * m * n, 8),
    )


def planned(*layers, dataflow="weight_stationary", accelerator=ROOMY):
    return make_plan(Program("p", layers), accelerator, dataflow).groups


def padded_elements(rows, length, quantum=8):
    """Rows in whole quanta."""
    return rows * -(-length // quantum) * quantum


def whole(step):
    return replace(step, tile_m=step.m, tile_n=step.n, tile_k=step.k)


def traffic_of(layer, dataflow="weight_stationary", moved=None, **tiles):
    """Traffic of a product in one tile, or in tiles of other extents."""
    (group,) = planned(layer, dataflow=dataflow)
    step = replace(whole(group.steps[0]), **tiles)
    moved = moved or {port.name: port.view.elements * port.bits for port in step.ports}
    return product_traffic(group, step, step.product, ARRAY, moved)


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
    small = machine(8, 8, (4.0, 1.0, 4.0))  # the weight does not stay
    for (m, n, k), _, dataflow, row in gemm_rows:
        (group,) = planned(matmul(m, n, k, count=1), dataflow=dataflow, accelerator=small)
        step = group.steps[0]
        elements = {port.name: port.view.elements for port in step.ports}
        words = int(row["dram_ifmap_reads"]) + int(row["dram_filter_reads"])
        assert elements["a"] + elements["b"] == words, row
        assert elements["y"] == m * n
        if dataflow == "output_stationary":  # under the others it sends partial sums to DRAM
            assert elements["y"] == int(row["dram_ofmap_writes"])
        # rows are moved in whole words of 4 lanes, and whole beats of 64 bits
        bits = {port.name: port.block_bits(m, n, k) for port in step.ports if port.stage}
        shapes = {"a": (m, k), "b": (k, n), "y": (m, n)}
        assert bits == {name: 8 * padded_elements(*shapes[name]) for name in bits}, row
        assert {"a", "y"} <= {*bits}


def test_partial_sums_are_written_and_read_again():
    results, folds_of_k = 2 * 20 * 24, 2
    assert traffic_of(matmul()).output == MemoryBits(
        read=32 * results * (folds_of_k - 1 + 1), write=32 * results * folds_of_k
    )


def test_codes_on_their_way_to_dram_wait_beside_the_activations():
    a, folds_of_n = 8 * 2 * 20 * 16, 3
    codes = MemoryBits(read=8 * 2 * 20 * 24, write=8 * 2 * 20 * 24)
    assert traffic_of(matmul()).activation == codes + MemoryBits(read=folds_of_n * a, write=a)


def test_cutting_the_stream_repeats_the_stationary_operand():
    plain, repeated = (traffic_of(matmul(), tile_m=m).weight.read for m in (20, 8))
    assert repeated == 3 * plain


def test_two_planes_move_two_accumulators():
    single, double = (
        traffic_of(matmul(planes=planes), "output_stationary").output for planes in (1, 2)
    )
    assert double == MemoryBits(read=2 * single.read, write=2 * single.write)


def test_a_resident_operand_is_read_from_its_buffer_without_dram():
    before = VectorLayer(
        "e", "encode", 40, 16, (Operand("image", 640, 8),), Operand("codes", 640, 8)
    )
    groups = planned(before, matmul(a="codes"))
    group, step = groups[1], whole(groups[1].steps[0])
    codes = 2 * 20 * 24 * 8
    traffic = product_traffic(group, step, step.product, ARRAY, {"y": codes})
    assert traffic.dram == MemoryBits(write=codes)  # all constants are on chip
    assert traffic.activation == MemoryBits(read=3 * 2 * 20 * 16 * 8 + codes, write=codes)
    assert traffic.weight == MemoryBits(read=2 * 16 * 24 * 8)


def test_an_operand_from_dram_fills_its_buffer_as_often_as_it_comes():
    (group,) = planned(matmul(), accelerator=machine(8, 8, (4.0, 1.0, 8.0)))
    step = whole(group.steps[0])
    b_bits = 2 * 16 * 24 * 8
    assert step.inputs[1].memory == "weight"  # it fits
    traffic = product_traffic(group, step, step.product, ARRAY, {"a": 3 * 5120, "y": 7680})
    assert traffic.activation == MemoryBits(read=3 * 5120 + 7680, write=3 * 5120 + 7680)
    assert traffic.dram == MemoryBits(read=3 * 5120, write=7680)
    assert traffic.weight == MemoryBits(read=b_bits)


def test_an_outlier_reads_a_row_of_the_weight_and_adds_to_sums():
    acc = matmul(20, 64, 16, count=1)
    acc = replace(acc, out=Operand("acc", 20 * 64, 32))
    entries, joined = Operand("found", 10, 64), Operand("joined", 20 * 64, 46)
    join = VectorLayer("j", "outlier_join", 10, 64, (acc.out, entries, acc.b), joined, fused=True)
    (group,) = planned(acc, join)
    step = group.steps[0]
    traffic = pass_traffic(group, step, step.passes[0], {"joined": 1000, "1.1": 700})
    assert traffic.weight == MemoryBits(read=10 * 64 * 8)
    sums = 20 * 64 * 32
    assert traffic.output == MemoryBits(read=sums, write=sums)
    assert traffic.activation == MemoryBits(read=700 + 1000, write=700 + 1000)
    # beside the sums of codes, what outliers add has room of its own
    assert step.product.sum_bits == 64
    alone = product_traffic(group, step, step.product, ARRAY, {"a": 0, "b": 0})
    assert alone.output == MemoryBits(read=2 * sums, write=2 * sums)


def test_a_pass_reads_once_and_layer_norm_its_parameters_for_every_row():
    gamma = Operand("gamma", 10, 16, True)
    norm = VectorLayer(
        "norm", "layer_norm", 6, 10, (Operand("x", 60, 16), gamma), Operand("y", 60, 8)
    )
    (group,) = planned(norm)
    step = group.steps[0]
    traffic = pass_traffic(group, step, step.passes[0], {"0.0": 960, "0.1": 160, "y": 480})
    read = 960 + 6 * 10 * 16 + 480
    assert traffic.activation == MemoryBits(read=read, write=960 + 160 + 480)
    assert traffic.dram == MemoryBits(read=960 + 160, write=480)
    assert traffic.sram == traffic.activation + traffic.weight + traffic.output


def test_parameters_from_dram_have_a_buffer_of_their_own():
    words = Operand("words", 96, 85, True, fields=(Field("gamma", 85),))
    image, out = Operand("x", 6 * 96, 16), Operand("y", 6 * 96, 8)
    norm = VectorLayer("norm", "layer_norm", 6, 96, (image, words), out)
    small = machine(8, 8, (64.0, 1.0, 1.0))  # they do not stay
    (group,) = planned(norm, accelerator=small)
    step = group.steps[0]
    room = 96 * Grid.of(small).parameter_bits
    assert step.inputs[1].block_bits(1, 96, 1) == room > 96 * 85
    traffic = pass_traffic(group, step, step.passes[0], {"0.0": 9216, "0.1": room, "y": 4608})
    assert traffic.parameter == MemoryBits(read=6 * room, write=room)
    assert traffic.weight == MemoryBits()
    assert traffic.dram == MemoryBits(read=9216 + room, write=4608)
    assert traffic.sram == traffic.activation + traffic.parameter


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_four_bits_move_half_of_eight(dataflow):
    eight, four = (traffic_of(matmul(bits=bits), dataflow) for bits in (8, 4))
    codes = 2 * 20 * 24 * 8
    assert 2 * (four.activation.read - codes) == eight.activation.read - codes
    assert 2 * four.weight.read == eight.weight.read
    assert four.output == eight.output
