import csv
import json

import pytest

from hwq.cli.main import main


def test_names_are_chosen_by_a_pattern(capsys):
    assert main(["list", "models", "deit_tiny_*"]) == 0
    names = capsys.readouterr().out.split()
    assert "deit_tiny_patch16_224" in names and all(name.startswith("deit_tiny") for name in names)


def test_models_are_checked_one_by_one(tmp_path, capsys):
    files = [tmp_path / "rows.json", tmp_path / "rows.csv"]
    command = ["list", "models", "deit_tiny_patch16_224", "--check"]
    assert main([*command, "--json", str(files[0]), "--csv", str(files[1])]) == 0
    (row,) = json.loads(files[0].read_text())
    assert row["name"] == "deit_tiny_patch16_224"
    assert (row["outcome"], row["because"]) == ("imports", "") and row["seconds"] > 0
    with files[1].open() as file:
        assert [line["outcome"] for line in csv.DictReader(file)] == ["imports"]
    assert capsys.readouterr().out.startswith("deit_tiny_patch16_224 imports (")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["methods", "--check"], "check is for models, not methods"),
        (["models", "no_such_*", "--check"], "no model is called like 'no_such_*'"),
        (["models", "--csv", "rows.csv"], "json and csv need check: names alone are printed"),
    ],
)
def test_what_makes_no_sense_is_one_line(capsys, arguments, wanted):
    assert main(["list", *arguments]) == 2
    assert capsys.readouterr().err == f"hwq: error: {wanted}\n"
