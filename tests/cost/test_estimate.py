import math
from dataclasses import fields, replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.arch.kinds import TIMINGS
from hwq.arch.load import list_accelerators, load_accelerator
from hwq.arch.systolic import matmul_cycles
from hwq.arch.vector_timing import pass_timing
from hwq.compiler.program import MatmulLayer, Operand, Program, VectorLayer
from hwq.cost import energy
from hwq.errors import SpecError, UsageError
from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import MULTIPLY, SHIFT, PeSpec
from hwq.numerics.unit import UnitTiming
from hwq.numerics.units import UNITS
from hwq.plan.layout import Grid
from hwq.plan.timing import OPERAND_CYCLES, PASS_CYCLES, RESULT_CYCLES
from tests.costs import cost_of

EDGE = load_accelerator("edge_32x32")
SCALESIM = {  # the 194 matmuls of DeiT-S, from golden/scalesim
    "edge_32x32": (5_996_726, 6_740_638, 6_252_118),
    "edge_16x16": (20_531_776, 22_324_630, 20_999_422),
}
ENERGIES = ("mac", "sram", "dram", "vector", "leakage")
EPILOGUE, GELU = (UNITS[stem].timing().latency_cycles for stem in ("epilogue", "activation"))


def changed(accelerator, **parts):
    """A copy of an accelerator with some fields of its parts replaced."""
    update = {
        name: getattr(accelerator, name).model_copy(update=values)
        if isinstance(values, dict)
        else values
        for name, values in parts.items()
    }
    return accelerator.model_copy(update=update)


def buffer(sram, name, **values):
    return sram.model_copy(update={name: getattr(sram, name).model_copy(update=values)})


def single(m=50, n=70, k=90, count=1, a_bits=8, b_bits=8, pe=MULTIPLY, **more):
    layer = MatmulLayer(
        "fc",
        m,
        n,
        k,
        count,
        pe if isinstance(pe, PeSpec) else PeSpec(pe, a_bits, b_bits),
        Operand("x", count * m * k, a_bits),
        Operand("w", count * k * n, b_bits, constant=True),
        Operand("y", count * m * n, 8),
    )
    return Program("p", (replace(layer, **more),))


@pytest.fixture(scope="module")
def deit_s(deit_program):
    return deit_program("deit_s")


@pytest.mark.parametrize("name", SCALESIM)
def test_array_time_of_deit_s_equals_scalesim_on_the_presets(name, deit_s):
    assert deit_s.matmuls == 194
    assert deit_s.macs == 4_598_882_304
    for dataflow, expected in zip(DATAFLOWS, SCALESIM[name], strict=True):
        cost = cost_of(deit_s, load_accelerator(name), dataflow, "scalesim")
        matmuls = [layer for layer in cost.layers if layer.op == "matmul"]
        assert sum(layer.compute_cycles for layer in matmuls) == expected
        assert {layer.dataflow for layer in matmuls} == {dataflow}


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_column_sums_cost_one_more_row_that_is_not_read(dataflow):
    accelerator = changed(EDGE, dram={"bandwidth_gib_s": 1e6})
    one_fold = partial(single, n=32, k=32)
    plain, sums, taller = (
        cost_of(program, accelerator, dataflow).layers[0]
        for program in (one_fold(m=64), one_fold(m=64, column_sums=True), one_fold(m=65))
    )
    assert sums.compute_cycles == taller.compute_cycles > plain.compute_cycles
    assert sums.energy_pj.mac == taller.energy_pj.mac > plain.energy_pj.mac
    assert plain.macs == sums.macs < taller.macs
    assert sums.sram_read_bytes < taller.sram_read_bytes
    assert sums.dram_read_bytes == plain.dram_read_bytes < taller.dram_read_bytes


def test_a_row_that_is_made_waits_for_no_dram():
    """Where the bus is all that counts, the row of ones costs nothing."""
    slow = changed(EDGE, dram={"bandwidth_gib_s": 0.01})
    plain, sums = (
        cost_of(program, slow).layers[0]
        for program in (single(m=64), single(m=64, column_sums=True))
    )
    assert sums.cycles - sums.compute_cycles <= plain.cycles - plain.compute_cycles
    assert sums.cycles - plain.cycles <= sums.compute_cycles - plain.compute_cycles


@pytest.mark.parametrize("name", list_accelerators())
@pytest.mark.parametrize("dataflow", [*DATAFLOWS, "auto"])
def test_layers_sum_to_the_totals(name, dataflow, deit_program):
    accelerator = load_accelerator(name)
    cost = cost_of(deit_program("deit_t", 4, 4), accelerator, dataflow)
    layers, totals = cost.layers, cost.totals
    assert (cost.dataflow, cost.timing) == (dataflow, "rtl")
    assert sum(layer.cycles for layer in layers) == totals.cycles
    assert sum(layer.macs for layer in layers) == totals.macs
    moved = sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in layers)
    assert moved == totals.dram_bytes
    assert math.fsum(layer.energy_pj.total for layer in layers) / 1e6 == totals.energy_uj
    for layer in layers:
        parts = [getattr(layer.energy_pj, name) for name in ENERGIES]
        assert math.fsum(parts) == layer.energy_pj.total
        assert min(parts) >= 0
        assert layer.stall_cycles == max(0, layer.cycles - layer.compute_cycles)
    assert totals.latency_ms == totals.cycles / (accelerator.clock_mhz * 1000)
    assert totals.throughput_ips == pytest.approx(1000 / totals.latency_ms)
    sram = accelerator.sram
    buffers = sram.activation, sram.weight, sram.parameter, sram.output
    capacity = sum(buffer.size_bits for buffer in buffers)
    assert 0 < totals.peak_sram_bytes <= capacity / 8


def test_weights_come_from_dram_once_per_image(deit_s):
    quantum = Grid.of(EDGE).quantum(8)
    assert quantum == 32
    weights = sum(
        layer.k * -(-layer.n // quantum) * quantum * layer.b.bits
        for layer in deit_s.layers
        if isinstance(layer, MatmulLayer) and layer.b.constant
    )
    cost = cost_of(deit_s, EDGE)
    position = 197 * 384 * 16
    image, logits = 196 * 768 * 8, 1024 * 16  # 1000 are no whole words
    assert cost.totals.dram_bytes * 8 == weights + position + image + logits


def test_auto_takes_the_fastest_dataflow_of_every_layer_by_itself(deit_s):
    shapes = {}
    for layer in deit_s.layers:
        if isinstance(layer, MatmulLayer):
            shapes[layer.m, layer.n, layer.k, layer.count] = layer
    assert len(shapes) == 8
    for layer in shapes.values():
        program = Program(layer.name, (layer,))
        fixed = [cost_of(program, EDGE, dataflow).totals.cycles for dataflow in DATAFLOWS]
        auto = cost_of(program, EDGE, "auto")
        assert auto.totals.cycles == min(fixed)
        assert fixed[DATAFLOWS.index(auto.layers[0].dataflow)] == min(fixed)


def test_scalesim_counts_one_cycle_less_per_product():
    on_chip = changed(EDGE, dram={"bandwidth_gib_s": 1e9})
    program = single(count=3)
    normal = cost_of(program, on_chip, timing="stall_free").layers[0]
    compatible = cost_of(program, on_chip, timing="scalesim").layers[0]
    assert normal.compute_cycles - compatible.compute_cycles == 3
    assert cost_of(program, changed(on_chip, timing="scalesim")).layers == (compatible,)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_rtl_counts_a_program_for_every_tile(dataflow):
    """A layer takes the sum of its tiles' programs."""
    roomy = changed(EDGE, dram={"bandwidth_gib_s": 1e9})
    small = changed(
        roomy, sram=buffer(buffer(EDGE.sram, "weight", size_kib=4), "output", size_kib=40)
    )
    whole, tiled = (
        cost_of(single(m=100, n=96, k=256), machine, dataflow, "rtl").layers[0]
        for machine in (roomy, small)
    )
    array = EDGE.array
    one = matmul_cycles(100, 96, 256, array.rows, array.columns, dataflow, "rtl") + OPERAND_CYCLES
    assert one <= whole.compute_cycles < tiled.compute_cycles
    overhead = 2 * array.rows + array.columns + 2 + OPERAND_CYCLES
    if dataflow != "input_stationary":
        assert (whole.compute_cycles - one) % overhead == 0
        assert (tiled.compute_cycles - one) % overhead == 0


def test_a_layer_too_long_for_one_tile_is_cut_under_either_timing():
    long = single(m=32, n=20_000, k=64)
    for timing in TIMINGS:
        layer = cost_of(long, EDGE, "input_stationary", timing).layers[0]
        uncut = matmul_cycles(32, 20_000, 64, 32, 32, "input_stationary", timing)
        assert layer.compute_cycles > uncut


def test_fused_work_is_exposed_only_beyond_the_array():
    acc = replace(single().layers[0], out=Operand("acc", 3500, 32))
    codes, out = Operand("y", 3500, 8), Operand("z", 3500, 8)
    first = VectorLayer("r", "requantize", 50, 70, (acc.out,), codes, True)
    second = VectorLayer("g", "activation", 50, 70, (codes,), out, True)
    program = Program("p", (acc, first, second))
    fast = changed(EDGE, dram={"bandwidth_gib_s": 1e6})
    array, requantize, gelu = cost_of(program, fast, timing="stall_free").layers
    assert (requantize.cycles, gelu.cycles) == (0, 0)
    # every tile passes through the units by itself
    tiles = (requantize.compute_cycles - 150) // EPILOGUE
    assert requantize.compute_cycles == 150 + EPILOGUE * tiles
    assert gelu.compute_cycles == 150 + GELU * tiles
    assert requantize.sram_write_bytes == 0
    slow = fast.vector_unit.model_validate(
        {"lanes": 32, "units": [{"unit": "activation", "interval_cycles": 50}]}
    )
    array, requantize, gelu = cost_of(
        program, changed(fast, vector_unit=slow), timing="stall_free"
    ).layers
    assert requantize.cycles == 0
    busy = requantize.compute_cycles + gelu.compute_cycles
    assert gelu.cycles == busy - array.compute_cycles > 0
    assert gelu.stall_cycles == 0


def test_time_beyond_the_array_is_counted_once():
    acc = replace(single().layers[0], out=Operand("acc", 3500, 32))
    codes, out = Operand("y", 3500, 8), Operand("z", 3500, 8)
    first = VectorLayer("r", "requantize", 50, 70, (acc.out,), codes, True)
    second = VectorLayer("g", "activation", 50, 70, (codes,), out, True)
    slow = changed(EDGE, vector_unit={"lanes": 1}, dram={"bandwidth_gib_s": 1e6})
    array, *fused = cost_of(Program("p", (acc, first, second)), slow, timing="stall_free").layers
    # every tile passes through the units by itself
    tiles = (fused[0].compute_cycles - 3500) // EPILOGUE
    busy = [3500 + latency * tiles for latency in (EPILOGUE, GELU)]
    assert [layer.compute_cycles for layer in fused] == busy
    exposed = fused[0].compute_cycles - array.compute_cycles
    assert [layer.cycles for layer in fused] == [exposed, fused[1].compute_cycles]


def test_in_the_gateware_what_streams_behind_the_array_ends_after_it():
    acc = replace(single().layers[0], out=Operand("acc", 3500, 32))
    codes, out = Operand("y", 3500, 8), Operand("z", 3500, 8)
    first = VectorLayer("r", "requantize", 50, 70, (acc.out,), codes, True)
    second = VectorLayer("g", "activation", 50, 70, (codes,), out, True)
    alone = VectorLayer("e", "encode", 50, 70, (out,), Operand("c", 3500, 8))
    layers = cost_of(Program("p", (acc, first, second, alone)), EDGE, timing="rtl").layers
    assert [layer.cycles for layer in layers[1:3]] == [RESULT_CYCLES + EPILOGUE, GELU]
    # each block of rows takes the latency anew
    assert (layers[3].compute_cycles - 50 * 3) % (PASS_CYCLES + EPILOGUE) == 0


def test_unfused_work_waits_for_dram():
    layer = VectorLayer(
        "e", "encode", 10, 3200, (Operand("image", 32_000, 16),), Operand("y", 32_000, 8)
    )
    cost = cost_of(Program("p", (layer,)), changed(EDGE, dram={"bandwidth_gib_s": 0.1})).layers[0]
    assert (cost.compute_cycles - 1000) % (PASS_CYCLES + EPILOGUE) == 0
    assert cost.stall_cycles == cost.cycles - cost.compute_cycles > 0


def test_a_matmul_row_says_what_it_is():
    row = cost_of(single(count=2, a_bits=4), EDGE).layers[0]
    assert (row.name, row.op, row.m, row.n, row.k, row.count) == ("fc", "matmul", 50, 70, 90, 2)
    assert (row.bits.a, row.bits.w, row.bits.acc, row.pe) == (4, 8, 32, "multiply")
    assert row.utilization == row.macs / (row.cycles * 1024)
    assert (row.saturations, row.sqnr_db) == (None, None)


def test_half_bytes_stay_exact():
    row = cost_of(single(m=3, n=5, k=7, a_bits=4), EDGE).layers[0]
    codes, weights, sums, results = 21 * 4 / 8, 35, 15 * 4, 3 * 32
    assert codes == 10.5
    assert row.sram_read_bytes == codes + weights + sums + results


def test_dram_moves_whole_beats():
    row = cost_of(single(m=3, n=5, k=7, a_bits=4), EDGE).layers[0]
    assert row.dram_read_bytes == 3 * 64 * 4 / 8  # the weights stay on chip
    assert row.dram_write_bytes == 3 * 32


def test_time_and_energy_of_deit_s_are_plausible(deit_s):
    totals = cost_of(deit_s, EDGE).totals
    assert totals.cycles == 4_906_504
    assert 1500 < totals.energy_uj < 6000
    assert 0.8 < totals.utilization < 0.95
    assert 0.5 < totals.area_mm2 < 5


def test_fewer_bits_cost_less_on_every_preset(deit_program):
    for name in list_accelerators():
        accelerator = load_accelerator(name)
        wide, narrow = (cost_of(deit_program("deit_s", b, b), accelerator).totals for b in (8, 4))
        assert narrow.dram_bytes < wide.dram_bytes
        assert narrow.energy_uj < wide.energy_uj
        # the search takes fewer DRAM bits before fewer cycles, and each tile is a program
        assert narrow.cycles <= 1.005 * wide.cycles


SMALL = changed(EDGE, sram=buffer(EDGE.sram, "weight", size_kib=4))
sizes = st.integers(1, 200)
rates = st.floats(0.1, 50)


@settings(max_examples=40, deadline=None)
@given(
    sizes,
    sizes,
    sizes,
    st.integers(1, 4),
    st.floats(0.1, 50),
    st.floats(0.1, 50),
    st.sampled_from([*DATAFLOWS, "auto"]),
)
def test_more_bandwidth_is_never_slower(m, n, k, count, one, other, dataflow):
    slow, fast = (
        cost_of(single(m, n, k, count), changed(SMALL, dram={"bandwidth_gib_s": rate}), dataflow)
        for rate in sorted((one, other))
    )
    assert fast.totals.cycles <= slow.totals.cycles


# a word of 32 lanes is whole beats at any width, so that all widths are padded and cut alike
EQUAL_RUNS = changed(EDGE, sram=buffer(EDGE.sram, "weight", size_kib=8, width_bits=32, banks=8))
larger = st.integers(1, 300)


def test_words_of_all_widths_are_whole_beats():
    assert {Grid.of(EQUAL_RUNS).quantum(bits) for bits in range(1, 9)} == {32}


@settings(max_examples=40, deadline=None)
@given(larger, larger, larger, st.integers(1, 8), st.integers(2, 8), st.sampled_from(DATAFLOWS))
def test_fewer_bits_never_move_more_dram(m, n, k, a_bits, b_bits, dataflow):
    wide = cost_of(single(m, n, k), EQUAL_RUNS, dataflow).totals
    narrow = cost_of(single(m, n, k, 1, a_bits, b_bits), EQUAL_RUNS, dataflow).totals
    assert narrow.dram_bytes <= wide.dram_bytes


def test_result_rows_have_the_fields_of_the_contract_in_its_order():
    names = [field.name for field in fields(cost_of(single(), EDGE).layers[0])]
    assert " ".join(names) == (
        "name op m n k count pe bits dataflow cycles compute_cycles stall_cycles utilization "
        "macs sram_read_bytes sram_write_bytes dram_read_bytes dram_write_bytes energy_pj "
        "saturations sqnr_db node_sqnr_db quantizer_sqnr_db row_sum_min row_sum_mean"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cost_of(single(), EDGE, "row_stationary"),
            "dataflow must be one of output_stationary, weight_stationary, input_stationary, auto, "
            "not 'row_stationary'",
        ),
        (
            lambda: cost_of(single(), EDGE, timing="exact"),
            "timing must be one of rtl, stall_free, scalesim, not 'exact'",
        ),
        (
            lambda: cost_of(single(pe=SHIFT), changed(EDGE, array={"pe": ("multiply",)})),
            "fc: needs a PE of kind 'shift'; accelerator 'edge_32x32' has multiply",
        ),
        (
            lambda: cost_of(single(a_bits=9), EDGE),
            "fc: needs activation_bits of 9; the array of accelerator 'edge_32x32' has 8",
        ),
        (
            lambda: cost_of(single(b_bits=16), EDGE),
            "fc: needs weight_bits of 16; the array of accelerator 'edge_32x32' has 8",
        ),
        (
            lambda: cost_of(single(pe=PeSpec(acc_bits=40)), EDGE),
            "fc: needs acc_bits of 40; the array of accelerator 'edge_32x32' has 32",
        ),
    ],
)
def test_a_request_that_cannot_be_met_names_what_is_missing(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message


def test_a_buffer_too_small_names_layer_and_buffer():
    sram = buffer(EDGE.sram, "output", size_kib=1)
    with pytest.raises(SpecError, match=r"fc: sram\.output must have 4 KiB free for the smallest"):
        cost_of(single(), changed(EDGE, sram=sram))


@pytest.fixture
def one_move():
    codes, out = Operand("x", 64, 8), Operand("y", 64, 8)
    pass_timing.cache_clear()
    yield Program("p", (VectorLayer("copy", "concat", 8, 8, (codes,), out),))
    pass_timing.cache_clear()
    energy._work_pj.cache_clear()


def test_work_without_energy_is_refused(one_move, monkeypatch):
    energy._work_pj.cache_clear()
    monkeypatch.setitem(UNITS, "move", replace(UNITS["move"], work=()))
    with pytest.raises(SpecError, match=r"^copy: concat has elements, and must take cycles and "):
        cost_of(one_move, EDGE)


def test_work_without_time_is_refused(one_move, monkeypatch):
    free = replace(UNITS["move"], timing=lambda: UnitTiming(0, 0))
    monkeypatch.setitem(UNITS, "move", free)
    with pytest.raises(SpecError, match=r"not 0 cycles and .* pJ of work$"):
        cost_of(one_move, EDGE, timing="stall_free")


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("name", list_accelerators())
def test_no_layer_is_free(deit_s, name, timing):
    for layer in cost_of(deit_s, load_accelerator(name), timing=timing).layers:
        assert layer.compute_cycles > 0, layer.name
        assert layer.energy_pj.mac + layer.energy_pj.vector > 0, layer.name
        assert layer.energy_pj.total > 0, layer.name
