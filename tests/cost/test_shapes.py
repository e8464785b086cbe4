"""Products whose shapes went wrong in other tools: nothing negative, nothing lost."""

import pytest

from hwq.arch.load import load_accelerator
from hwq.compiler.program import MatmulLayer, Operand, Program
from hwq.errors import SpecError
from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import PeSpec
from tests.costs import cost_of

EDGE = load_accelerator("edge_16x16")
BANDWIDTHS = (0.01, 1.0, 30.0, 1000.0)
SMALL_KIB = {"activation": 1, "weight": 1, "output": 1}


def product(m, n, k, count=1):
    operands = (
        Operand("x", count * m * k, 8),
        Operand("w", count * k * n, 8, constant=True),
        Operand("y", count * m * n, 8),
    )
    return Program("p", (MatmulLayer("fc", m, n, k, count, PeSpec(), *operands),))


def machine(rows, columns, bandwidth=30.0, **size_kib):
    """The array with buffers of these sizes, wide enough for its edges."""
    sizes = {"activation": 512, "weight": 128, "output": 256} | size_kib
    banks = max(4, -(-columns * 64 // 256))
    buffers = {
        name: {"size_kib": max(kib, banks), "width_bits": 256, "banks": banks}
        for name, kib in sizes.items()
    }
    data = EDGE.model_dump() | {
        "array": {"rows": rows, "columns": columns, "dataflow": "weight_stationary"},
        "sram": buffers,
        "dram": {"kind": "lpddr4", "bandwidth_gib_s": bandwidth},
    }
    return type(EDGE).model_validate(data)


def check(program, accelerator, dataflow="weight_stationary"):
    """Return the cost, after what holds of any."""
    cost = cost_of(program, accelerator, dataflow)
    pes = accelerator.array.rows * accelerator.array.columns
    (layer,), totals = cost.layers, cost.totals
    assert layer.cycles == totals.cycles >= -(-program.macs // pes)
    assert layer.stall_cycles >= 0 and layer.compute_cycles > 0
    assert 0 < totals.utilization <= 1
    moved = layer.dram_read_bytes + layer.dram_write_bytes
    # weights that fit the chip stay there from image to image
    (matmul,) = program.layers
    assert moved == totals.dram_bytes >= matmul.a.elements + matmul.out.elements
    assert totals.energy_uj == pytest.approx(layer.energy_pj.total / 1e6, rel=1e-12)
    assert min(layer.sram_read_bytes, layer.sram_write_bytes, *vars_of(layer.energy_pj)) >= 0
    return cost


def vars_of(energy):
    return (energy.mac, energy.sram, energy.dram, energy.vector, energy.leakage)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("shape", [(16, 16), (32, 32), (4, 8)], ids=str)
def test_a_first_convolution_has_no_negative_cycles(shape, dataflow):
    """12544 x 27 x 32: cycles of loading came out negative elsewhere."""
    cycles = [
        check(product(12544, 32, 27), machine(*shape, bandwidth), dataflow).totals.cycles
        for bandwidth in BANDWIDTHS
    ]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("extents", [(7, 7, 7), (3, 3, 3), (1, 64, 64), (1, 1, 1)], ids=str)
def test_less_than_an_array(extents, dataflow):
    cycles = [
        check(product(*extents), machine(8, 8, bandwidth), dataflow).totals.cycles
        for bandwidth in BANDWIDTHS
    ]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("extents", [(241, 197, 7), (5, 241, 197), (197, 5, 241)], ids=str)
def test_primes_in_buffers_of_a_kibibyte(extents, dataflow):
    small = machine(4, 4, **SMALL_KIB)
    cycles = [
        check(
            product(*extents),
            small.model_copy(update={"dram": replace_rate(small, bandwidth)}),
            dataflow,
        ).totals.cycles
        for bandwidth in BANDWIDTHS
    ]
    assert cycles == sorted(cycles, reverse=True)


def replace_rate(accelerator, bandwidth):
    return accelerator.dram.model_copy(update={"bandwidth_gib_s": bandwidth})


def test_the_smallest_machine_cuts_a_layer_to_fit():
    check(product(512, 1024, 128), machine(1, 1, **SMALL_KIB))


def test_what_fits_no_buffer_names_buffer_need_and_room():
    with pytest.raises(SpecError, match=r"^fc: sram\.output must have 2 KiB free .*, not 0\.5$"):
        cramped = machine(16, 16)
        sram = cramped.sram
        output = sram.output.model_copy(update={"size_kib": 0.5})
        sram = sram.model_copy(update={"output": output})
        cost_of(product(512, 1024, 128), cramped.model_copy(update={"sram": sram}))


@pytest.mark.parametrize("extents", [(16384,) * 3, (197, 65536, 65536)], ids=str)
def test_counts_are_exact_beyond_32_bits(extents):
    cost = check(product(*extents), machine(128, 128, 1000.0))
    m, n, k = extents
    assert cost.totals.macs == m * n * k > 1 << 32
    assert cost.totals.cycles > 1 << 24


def test_a_full_hd_image_spills_and_is_counted(deit_program):
    """1080 x 1920 pixels in patches of 16: 8,160 tokens, whose scores fill no buffer."""
    cost = cost_of(deit_program("deit_t", tokens=8160), load_accelerator("edge_32x32"))
    assert cost.totals.cycles >= cost.totals.macs / 1024
    assert sum(layer.cycles for layer in cost.layers) == cost.totals.cycles
    assert all(layer.cycles >= 0 and layer.stall_cycles >= 0 for layer in cost.layers)
    assert sum(layer.dram_write_bytes for layer in cost.layers if "attn" in layer.name) > 0
