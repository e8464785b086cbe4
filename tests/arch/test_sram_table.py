import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.arch.node_scaling import interpolate_log, read_table
from hwq.arch.sram_table import sram_figures


def test_every_point_of_the_sweep_is_met():
    rows = read_table("sram_sweep.csv")
    assert len(rows) == 156
    for row in rows:
        width = int(row["width_bits"])
        figures = sram_figures(
            int(row["size_bytes"]) / 1024,
            width,
            float(row["node_um"]) * 1000,
            row["cell"].removeprefix("itrs-"),
        )
        assert figures.read_pj_per_bit * width == pytest.approx(float(row["read_pJ"]), rel=1e-9)
        assert figures.write_pj_per_bit * width == pytest.approx(float(row["write_pJ"]), rel=1e-9)
        assert figures.leakage_mw == pytest.approx(float(row["leak_mW"]), rel=1e-9)
        assert figures.area_mm2 == pytest.approx(float(row["area_mm2"]), rel=1e-9)


@settings(deadline=None)
@given(st.floats(1, 4096), st.integers(32, 256), st.floats(22, 45))
def test_between_points_nothing_leaves_the_range_of_the_sweep(size_kib, width, node):
    figures = sram_figures(size_kib, width, node, "hp")
    reads = [
        float(row["read_pJ"]) for row in read_table("sram_sweep.csv") if row["cell"] == "itrs-hp"
    ]
    assert min(reads) * 0.999 <= figures.read_pj_per_bit * width <= max(reads) * 1.001


def test_below_22_nm_access_energy_and_area_shrink_and_leakage_stays():
    coarse, fine = (sram_figures(64, 64, node, "hp") for node in (22, 16))
    assert fine.read_pj_per_bit < coarse.read_pj_per_bit
    assert fine.area_mm2 < coarse.area_mm2
    assert fine.leakage_mw == coarse.leakage_mw


def test_low_standby_cells_leak_ten_thousand_times_less():
    ratio = sram_figures(64, 64, 22, "hp").leakage_mw / sram_figures(64, 64, 22, "lstp").leakage_mw
    assert ratio > 5e3


def test_interpolation_continues_beyond_its_ends():
    points = [(1.0, 1.0), (10.0, 10.0), (100.0, 1000.0)]
    assert interpolate_log(points, 0.1) == pytest.approx(0.1)
    assert interpolate_log(points, 1000) == pytest.approx(1e5)
    assert interpolate_log(points[:1], 7) == 1
