import json
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.cli.main import main


def test_emit_writes_and_names_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b"
    assert main(["emit", "--unit", "log2", "--out", str(out), "--vectors", "50"]) == 0
    named = [Path(line).name for line in capsys.readouterr().out.split()]
    wanted = ["log2.v", "log2_i.hex", "log2_o.hex", "log2_tb.v", "log2.vlt", "log2.json"]
    assert named == wanted and {file.name for file in out.iterdir()} == set(wanted)
    assert (out / "log2.v").read_text().splitlines()[1].startswith("// in_bits=16 bits=4 ")
    assert len((out / "log2_i.hex").read_text().splitlines()) == 50


def test_emit_takes_verified_parameters_and_a_name(tmp_path: Path) -> None:
    options = ["--case", "bits8", "--name", "poly", "--out", str(tmp_path)]
    assert main(["emit", "--unit", "horner", *options]) == 0
    manifest = json.loads((tmp_path / "poly.json").read_text())
    assert (
        manifest["parameters"] == "coefficients=(3,-40,100) bits=8 frac=5"
        and manifest["ports"]["i"]["bits"] == 8
    )
    assert "\nmodule poly(" in (tmp_path / "poly.v").read_text()


def test_emit_takes_whole_results_of_a_unit_of_several_inputs(tmp_path: Path) -> None:
    options = ["--case", "two_taps", "--vectors", "100", "--out", str(tmp_path)]
    assert main(["emit", "--unit", "scale_predictor", *options]) == 0
    manifest = json.loads((tmp_path / "scale_predictor.json").read_text())
    assert manifest["inputs_per_result"] == 36 and manifest["vectors"]["inputs"] == 108


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unit", "log3"], "unknown unit 'log3'; known: log2, horner"),
        (["--unit", "log2", "--case", "x"], "unknown case 'x' of log2; known: base2_bits3"),
        (["--unit", "log2", "--name", "2b"], "name must be a Verilog identifier, not '2b'"),
        (["--unit", "log2", "--name", "logic"], "name must not be a word of Verilog, not 'logic'"),
        (["--unit", "log2", "--vectors", "0"], "vectors must be at least 1, not 0"),
    ],
)
def test_emit_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["emit", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_list_names_the_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "units"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["log2", "horner"]
