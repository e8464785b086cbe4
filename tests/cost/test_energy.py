import math

import pytest

from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.cost.energy import EnergyModel
from hwq.cost.traffic import MemoryBits, Traffic
from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from hwq.numerics.pe import SHIFT, PeSpec
from hwq.numerics.units import VECTOR_OPS, unit_of_op
from hwq.plan.plan import Pass
from tests.costs import cost_of

MODEL = EnergyModel(load_accelerator("edge_32x32"))


def test_energy_is_operations_and_accesses_times_their_prices():
    moved = Traffic(weight=MemoryBits(1000, 0), dram=MemoryBits(300, 200))
    mac = MODEL.product_pj(PeSpec(SHIFT, 4, 8), 60)
    assert mac == 60 * MODEL.table.pe_pj(SHIFT, 4, 8)
    energy = MODEL.total(mac, 0.0, moved, cycles=500)
    assert (energy.mac, energy.vector) == (mac, 0)
    assert energy.dram == 500 * 8
    assert energy.leakage == pytest.approx(1000 * 17.44, rel=1e-3)  # ns x mW
    assert energy.sram > 0
    parts = (energy.mac, energy.sram, energy.dram, energy.vector, energy.leakage)
    assert energy.total == math.fsum(parts)


def test_parameters_have_the_prices_of_their_own_buffer():
    sram = load_accelerator("edge_32x32").sram
    weight = sram.weight.model_copy(update={"size_kib": sram.weight.size_kib / 2})
    swapped = sram.model_copy(update={"weight": sram.parameter, "parameter": weight})
    accelerator = load_accelerator("edge_32x32").model_copy(update={"sram": swapped})
    bits = MemoryBits(1000, 70)
    priced = [
        EnergyModel(accelerator).total(0.0, 0.0, Traffic(**{name: bits}), 0).sram
        for name in ("parameter", "weight")
    ]
    assert priced[1] == MODEL.total(0.0, 0.0, Traffic(parameter=bits), 0).sram > 0
    assert priced[0] != priced[1]


def work(op, rows, length, results):
    """A pass of that size."""
    unit = unit_of_op(op).stem
    return Pass(op, op, unit, rows, length, 16, ("0.0",), "y", results, 16)


def test_a_mean_is_charged_its_sum_and_its_one_rounding():
    vector = MODEL.pass_pj(work("mean", 197, 192, 192))
    price = MODEL.table.action_pj
    sums = 197 * 192 * price("int_add", 46)
    rounding = price("int_multiply", 32, 16) + price("int_add", 32)
    rounding = 192 * (rounding + price("shift", 32) + 2 * price("compare", 32))
    assert vector == pytest.approx(sums + rounding, rel=1e-12)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_layer_is_free(method, quick_method, tiny_prepared, tiny_calibration, lower):
    """Every layer with elements takes cycles, exposed or behind others, and energy."""
    graph = lower(quick_method(method).fit(tiny_prepared, tiny_calibration, Bits(4, 4)).graph)
    program = emit_program(graph)
    cost = cost_of(program, load_accelerator("edge_16x16"))
    assert len(cost.layers) == len(program.layers)
    for layer in cost.layers:
        work = layer.energy_pj.mac + layer.energy_pj.vector
        assert work > 0 and layer.compute_cycles > 0, layer.name


def test_every_vector_op_has_an_energy():
    for op in VECTOR_OPS:
        assert MODEL.pass_pj(work(op, 2, 8, 16)) > 0
