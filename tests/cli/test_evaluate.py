"""`hwq evaluate` as a user meets it."""

import csv
import json
import os

import jsonschema
import pytest

from hwq.cli.main import main
from hwq.report.evaluation import load_evaluation_schema


def evaluate(*arguments):
    given = ["evaluate", "--model", "tiny_for_cli:build", "--data", "images"]
    return main([*given, *map(str, arguments)])


def test_a_table_is_made_kept_and_made_again(workplace, capsys, monkeypatch):
    methods = ("--methods", "minmax,scalepredictor@minmax", "--bits", "w8a8,w4a4")
    common = (*methods, "--calib", "images", "--work", "w")
    assert evaluate(*common, "--json", "a.json", "--csv", "a.csv") == 0
    captured = capsys.readouterr()
    assert "minmax w8a8: fp32" in captured.err and "6 images" in captured.out
    table = json.loads((workplace / "a.json").read_text())
    jsonschema.validate(table, load_evaluation_schema())
    names = [f"{row['method']}-{row['bits']}" for row in table["rows"]]
    assert names == [
        *("minmax-w8a8", "minmax-w4a4"),
        *("scalepredictor@minmax-w8a8", "scalepredictor@minmax-w4a4"),
    ]
    assert sorted(os.listdir("w")) == sorted(
        f"{name}.{kind}" for name in names for kind in ("json", "safetensors")
    )
    for row in table["rows"]:
        assert row["images"] == 6 and row["logit_sqnr_db"] > 10
        assert row["integer_minus_fake_quant"] == pytest.approx(
            row["top1_integer"] - row["top1_fake_quant"]
        )
    with (workplace / "a.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == [
            row["method"] for row in table["rows"]
        ]

    def never(*_, **__):
        raise AssertionError("is known already")

    monkeypatch.setattr("hwq.methods.minmax.MinMax.fit", never)
    monkeypatch.setattr("hwq.api.evaluation.float_logits", never)
    assert evaluate(*common, "--json", "b.json") == 0
    assert (workplace / "b.json").read_bytes() == (workplace / "a.json").read_bytes()


def test_the_float_network_runs_once(workplace, monkeypatch):
    from hwq.api import evaluation

    runs = []
    plain = evaluation.float_logits
    monkeypatch.setattr(evaluation, "float_logits", lambda *given: runs.append(1) or plain(*given))
    given = ("--methods", "minmax", "--bits", "w8a8,w4a4", "--calib", "images", "--limit", "2")
    assert evaluate(*given, "--json", "a.json") == 0
    assert runs == [1]
    rows = json.loads((workplace / "a.json").read_text())["rows"]
    assert [row["images"] for row in rows] == [2, 2]


def test_a_row_is_known_before_the_next_fails(workplace, monkeypatch, capsys):
    from hwq.errors import GraphError
    from hwq.methods.repq_vit import RepqViT

    def fail(*_, **__):
        raise GraphError("no such luck")

    monkeypatch.setattr(RepqViT, "fit", fail)
    given = ("--methods", "minmax,repq_vit", "--calib", "images", "--csv", "a.csv")
    assert evaluate(*given, "--work", "w") == 1
    assert "no such luck" in capsys.readouterr().err
    assert (workplace / "a.csv").read_text().count("\n") == 2
    assert sorted(os.listdir("w")) == ["minmax-w8a8.json", "minmax-w8a8.safetensors"]


def test_a_file_is_a_row(workplace):
    given = ("calibrate", "--model", "tiny_for_cli:build", "--calib", "images")
    assert main([*given, "--method", "minmax", "--out", "f.safetensors"]) == 0
    assert evaluate("--checkpoint", "f.safetensors", "--json", "a.json") == 0
    assert evaluate("--methods", "minmax", "--calib", "images", "--json", "b.json") == 0
    table, other = (json.loads((workplace / name).read_text()) for name in ("a.json", "b.json"))
    jsonschema.validate(table, load_evaluation_schema())
    (row,), (fitted,) = table["rows"], other["rows"]
    assert row["method"] == "minmax (f.safetensors)" and row["calibration_seconds"] is None
    assert table["run"]["calibration"] is None
    assert (
        main(
            [
                *"evaluate --integers --data images --json c.json".split(),
                "--checkpoint",
                "f.safetensors",
            ]
        )
        == 0
    )
    alone = json.loads((workplace / "c.json").read_text())
    jsonschema.validate(alone, load_evaluation_schema())
    (integers,) = alone["rows"]
    same = ("method", "bits", "images", "top1_integer", "checkpoint_sha256")
    assert [integers[name] for name in same] == [row[name] for name in same]
    assert {name for name in integers if integers[name] is None} == set(row) - {*same}
    differ = {"method", "calibration_seconds"}
    assert {k: v for k, v in row.items() if k not in differ} == {
        k: v for k, v in fitted.items() if k not in differ
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, ("methods", "checkpoint")),
        (("--methods", "minmax"), 2, ("minmax", "calib")),
        (("--integers",), 2, ("integers",)),
        (("--integers", "--methods", "minmax"), 2, ("integers", "methods")),
        (("--methods", "minmx", "--calib", "images"), 2, ("minmx",)),
        (("--methods", "minmax,minmax", "--calib", "images"), 2, ("twice",)),
        (("--methods", "minmax", "--bits", "w9a9", "--calib", "images"), 2, ("bits",)),
        (("--methods", "minmax", "--calib", "nowhere"), 1, ("nowhere",)),
        (("--methods", "minmax", "--calib", "images", "--limit", "0"), 2, ("limit",)),
        (("--methods", "minmax", "--calib", "images", "--data", "no"), 1, ("no such folder",)),
        (("--methods", "minmax", "--calib", "images", "--option", "a=1"), 2, ("method.name",)),
        (("--methods", "minmax", "--calib", "images", "--csv", "no/a.csv"), 1, ("no/a.csv",)),
        (("--methods", "minmax", "--calib", "images", "--work", "tiny_for_cli.py"), 1, ("work",)),
        (("--checkpoint", "no.safetensors"), 1, ("no.safetensors",)),
        (("--checkpoint", "tiny_for_cli.py"), 1, ("tiny_for_cli.py",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_mistake_is_one_clear_line(workplace, capsys, arguments, code, words):
    before = {path for path in workplace.rglob("*") if "__pycache__" not in path.parts}
    assert evaluate(*arguments) == code
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("hwq: error:")]
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
    after = {path for path in workplace.rglob("*") if "__pycache__" not in path.parts}
    assert after == before, "nothing half-written may be left"


def test_synthesised_images_serve_every_method_and_every_verb(workplace, monkeypatch):
    from hwq.methods.psaq import PsaqSettings

    few = PsaqSettings(count=4, iterations=2, batch=2)
    monkeypatch.setattr("hwq.api.images._SETTINGS", few)
    images = ("--calib", "psaq", "--data", "images")
    given = ("--methods", "minmax,repq_vit", *images, "--work", "w", "--json", "a.json")
    assert evaluate(*given) == 0
    kept = sorted(os.listdir("w/psaq/images"))
    assert kept == ["psaq.0.safetensors", "psaq.1.safetensors"]
    table = json.loads((workplace / "a.json").read_text())
    jsonschema.validate(table, load_evaluation_schema())
    assert table["run"]["calibration"] == "psaq" and len(table["rows"]) == 2
    simulate = ("simulate", "--model", "tiny_for_cli:build", "--method", "minmax", *images)
    assert main([*simulate, "--work", "v", "--json", "b.json"]) == 0
    assert sorted(os.listdir("v/images")) == kept
    result = json.loads((workplace / "b.json").read_text())
    assert any("synthesised" in note for note in result["run"]["notes"])
    assert result["fidelity"]["logit_sqnr_db"] == table["rows"][0]["logit_sqnr_db"]
    assert main([*simulate, "--work", "v"]) == 2
    assert main([*simulate, "--work", "v", "--resume", "--json", "c.json"]) == 0
    assert (workplace / "b.json").read_bytes() == (workplace / "c.json").read_bytes()
