import pytest

from hwq.arch.accelerator import Array
from hwq.arch.area_table import accelerator_figures, buffer_figures, lane_figures, pe_figures
from hwq.arch.energy_table import EnergyTable
from hwq.arch.load import list_accelerators, load_accelerator

TABLE = EnergyTable(45)


# Bit Fusion results/systolic_array_synth.csv, per PE
@pytest.mark.parametrize(
    ("bits", "um2", "uw"), [(2, 81, 1.7), (4, 192, 5.3), (8, 511, 16.1), (16, 1679, 57)]
)
def test_a_multiply_pe_fits_bit_fusion(bits, um2, uw):
    array = Array(rows=4, columns=4, pe=["multiply"], activation_bits=bits, weight_bits=bits)
    figures = pe_figures(array, TABLE)
    assert figures.area_um2 == pytest.approx(um2, rel=0.025)
    assert figures.leakage_mw * 1000 == pytest.approx(uw, rel=0.04)


def area(*kinds):
    return pe_figures(Array(rows=4, columns=4, pe=kinds), TABLE).area_um2


def test_kinds_share_registers_and_accumulator():
    assert area("multiply") < area("multiply", "shift") < area("multiply") + area("shift")


def test_of_related_kinds_the_larger_counts():
    alone = (area("multiply"), area("multiply_shift"))
    assert area("multiply", "multiply_shift") == max(alone)
    assert area("shift", "shift_parity") == area("shift_parity") > area("shift")


def test_leakage_of_a_lane_is_mostly_its_multiplier():
    assert lane_figures(TABLE).leakage_mw * 1000 == pytest.approx(80 / 2 + 2.3 + 2.1 + 6.4)


@pytest.mark.parametrize("name", ["activation", "weight", "parameter", "output"])
def test_every_buffer_is_part_of_the_chip(name):
    small = load_accelerator("edge_16x16")
    before = getattr(small.sram, name)
    after = before.model_copy(update={"size_kib": 2 * before.size_kib})
    large = small.model_copy(update={"sram": small.sram.model_copy(update={name: after})})
    node = small.technology_nm
    more = buffer_figures(after, node).area_um2 - buffer_figures(before, node).area_um2
    area = accelerator_figures(small).area_um2 + more
    assert accelerator_figures(large).area_um2 == pytest.approx(area, rel=1e-12)
    assert more > 0


@pytest.mark.parametrize("name", list_accelerators())
def test_a_preset_has_the_size_of_a_chip(name):
    figures = accelerator_figures(load_accelerator(name))
    assert 0.5e6 < figures.area_um2 < 50e6
    assert 1 < figures.leakage_mw < 5000
