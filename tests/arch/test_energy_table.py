from dataclasses import replace

import pytest

from hwq.arch import energy_table
from hwq.arch.energy_table import EnergyTable, check_rows, energy_rows
from hwq.arch.kinds import DramKind
from hwq.arch.node_scaling import read_table
from hwq.arch.pe_ratio import pe_ratio
from hwq.errors import SpecError
from hwq.numerics.pe import MULTIPLY, PE_KINDS, SHIFT


def test_every_row_of_every_table_names_source_and_confidence():
    for name in ("energy_table.csv", "area_table.csv", "node_scaling.csv"):
        for row in read_table(name):
            assert row["source"], row
            assert row["confidence"].split(",")[0] in {"low", "medium", "high"}, row


def test_anchors_are_met_at_both_nodes():
    for row in energy_rows():
        if row.node_nm in (7, 45):
            table = EnergyTable(row.node_nm)
            assert table.action_pj(row.action, row.bits) == pytest.approx(row.pj, rel=1e-12)


@pytest.mark.parametrize(
    ("action", "exponent"),
    [("int_multiply", 0.56), ("int_add", 0.78), ("sram_1024_kib", 1.06), ("sram_8_kib", 0.15)],
)
def test_between_anchors_energy_is_a_power_of_the_node(action, exponent):
    ratio = EnergyTable(22).action_pj(action) / EnergyTable(45).action_pj(action)
    assert ratio == pytest.approx((22 / 45) ** exponent, rel=0.005)


def test_stillmaker_is_an_option():
    ratio = EnergyTable(7, "stillmaker").action_pj("int_multiply", 8) / 0.2
    assert ratio == pytest.approx(0.057)


def test_energy_follows_the_width_by_its_law():
    table = EnergyTable(45)
    assert table.action_pj("int_multiply", 32, 16) == pytest.approx(0.2 * 8)
    assert table.action_pj("int_add", 32) == pytest.approx(0.1, rel=0.01)
    assert table.action_pj("int_add", 16) == pytest.approx(0.05, rel=0.1)


# Bit Fusion results/systolic_array_synth.csv, per PE at 45 nm and 500 MHz
@pytest.mark.parametrize(("bits", "pj"), [(2, 0.0407), (4, 0.0824), (8, 0.203), (16, 0.603)])
def test_pe_energy_fits_bit_fusion(bits, pj):
    assert EnergyTable(45).pe_pj(MULTIPLY, bits, bits) == pytest.approx(pj, rel=0.006)


def test_a_shift_pe_costs_less_than_a_multiplier_of_its_widths():
    table = EnergyTable(22)
    assert table.pe_pj(SHIFT, 4, 8) < table.pe_pj(MULTIPLY, 4, 8)
    ratio = table.pe_pj(SHIFT, 4, 8) / table.pe_pj(MULTIPLY, 4, 8)
    assert ratio == pytest.approx(pe_ratio(SHIFT, 4, 8, "energy"), rel=1e-12)


def test_every_pe_and_every_dram_has_a_row():
    table = EnergyTable(22)
    assert all(table.pe_pj(kind, 4, 8) > 0 for kind in PE_KINDS.values())
    assert all(table.dram_pj_per_bit(kind) > 0 for kind in DramKind.__args__)
    assert table.dram_pj_per_bit("lpddr4") == EnergyTable(45).dram_pj_per_bit("lpddr4") == 8


@pytest.fixture
def table_of(monkeypatch):
    """Return a function that puts other rows in the table until the test ends."""
    caches = (energy_table._rows_of, energy_table._action_at_node_pj)

    def put(rows):
        other = tuple(rows)
        monkeypatch.setattr(energy_table, "energy_rows", lambda: other)
        for cache in caches:
            cache.cache_clear()

    yield put
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("action", sorted({row.action for row in energy_rows()}))
def test_an_action_without_a_row_is_refused(table_of, action):
    table_of(row for row in energy_rows() if row.action != action)
    with pytest.raises(SpecError, match=f"^the energy table has no row of action '{action}'$"):
        EnergyTable(22).action_pj(action)


@pytest.mark.parametrize("row", energy_rows(), ids=lambda row: f"{row.action}-{row.node_nm}")
def test_a_table_that_lacks_a_row_prices_nothing(row):
    """Without DRAM of a kind the action is refused; all else is refused when it is read."""
    rest = [other for other in energy_rows() if other != row]
    alone = not [other for other in rest if other.action == row.action]
    if alone and row.action not in {other.scales_like for other in rest}:
        check_rows(rest)  # the test above
        return
    with pytest.raises(SpecError, match="nm needs a second node, of its own or of the action"):
        check_rows(rest)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        *(({"pj": pj}, "pj must be positive") for pj in (0.0, -1.0, float("nan"), float("inf"))),
        ({"law": "cubic"}, "law must be one of constant, linear, adder, product, not 'cubic'"),
        ({"bits": 0}, "bits must be at least 1, not 0"),
        ({"scales_like": "magic"}, "at 40 nm needs a second node"),
    ],
)
def test_a_row_that_is_no_price_is_refused(changed, words):
    rows = [replace(r, **changed) if r.action == "shift" else r for r in energy_rows()]
    with pytest.raises(SpecError, match=f"^the energy table's row of 'shift'.*{words}"):
        check_rows(rows)
