"""The main command as a user meets it: output, files, exit codes, and one line per mistake."""

import csv
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image
from safetensors.torch import save_file

from hwq.cli.main import main
from hwq.report.to_json import load_schema


def simulate(*arguments):
    return main(["simulate", "--model", "tiny_for_cli:build", *map(str, arguments)])


def test_costs_a_network_without_weights_or_images(workplace, capsys):
    assert simulate("--method", "scalepredictor") == 0
    out = capsys.readouterr().out
    assert "accuracy: not measured" in out
    assert "weights are seeded random" in out


@pytest.mark.parametrize("method", ["minmax", "repq_vit", "scalepredictor"])
def test_measures_and_writes_a_valid_result(workplace, method):
    images = workplace / "images"
    files = {name: workplace / f"out.{name}" for name in ("json", "csv", "html", "trace")}
    arguments = [part for name, file in files.items() for part in (f"--{name}", file)]
    assert simulate("--method", method, "--calib", images, "--data", images, *arguments) == 0
    result = json.loads(files["json"].read_text())
    jsonschema.validate(result, load_schema())
    assert result["run"]["images"] == result["fidelity"]["images"] == 6
    assert sum(row["cycles"] for row in result["layers"]) == result["totals"]["cycles"]
    assert any(row["sqnr_db"] is not None for row in result["layers"])
    assert all(row["node_sqnr_db"] > 40 for row in result["layers"] if row["node_sqnr_db"])
    rows = [row for row in result["layers"] if row["op"] == "softmax"]
    assert rows and all(0.99 < row["row_sum_min"] <= row["row_sum_mean"] < 1.01 for row in rows)
    assert any(row["quantizer_sqnr_db"] for row in result["layers"])
    with files["csv"].open() as file:
        assert len(list(csv.DictReader(file))) == len(result["layers"])
    assert "traceEvents" in json.loads(files["trace"].read_text())
    assert "<html" in files["html"].read_text()
    left = {path.name for path in workplace.iterdir()}
    assert {name for name in left if name.startswith("out.")} == {f.name for f in files.values()}


def test_the_same_seed_gives_the_same_file(workplace):
    for name in ("a.json", "b.json"):
        arguments = ("--calib", "images", "--data", "images", "--json", name, "--limit", "2")
        assert simulate("--method", "scalepredictor", "--bits", "w4a4", *arguments) == 0
    assert (workplace / "a.json").read_bytes() == (workplace / "b.json").read_bytes()


@pytest.mark.slow
def test_neither_hashes_nor_threads_change_the_file(workplace):
    images = ("--calib", "images", "--data", "images", "--limit", "2")
    texts = set()
    for seed, threads in (("0", "1"), ("1", "2"), ("77", "2")):
        settings = {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        settings |= {"NUMBA_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = ["-m", "hwq.simulate", "--model", "tiny_for_cli:build", "--json", "same.json"]
        command += ["--method", "scalepredictor", "--bits", "w4a4", *images]
        subprocess.run([sys.executable, *command], env={**os.environ, **settings}, check=True)
        texts.add((workplace / "same.json").read_bytes())
    assert len(texts) == 1


def test_a_picture_goes_through_the_three_networks_on_request(workplace, capsys):
    picture = next((workplace / "images").rglob("*.png"))
    assert simulate("--method", "minmax", "--picture", picture, "--json", "a.json") == 0
    assert picture.name in capsys.readouterr().out
    result = json.loads((workplace / "a.json").read_text())
    jsonschema.validate(result, load_schema())
    assert result["picture"]["file"] == picture.name
    assert [len(result["picture"][name]) for name in ("float32", "fake_quant", "integer")] == [
        5
    ] * 3
    assert simulate("--method", "minmax", "--json", "a.json") == 0
    assert "picture" not in json.loads((workplace / "a.json").read_text())


def test_a_picture_that_is_none_is_one_line(workplace, capsys):
    assert simulate("--method", "minmax", "--picture", "none.png") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hwq: error: image none.png cannot be read: ")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--bits", "w8a4"), "bits"),
        (("--accelerator", "edge_16x16"), "accelerator"),
        (("--dataflow", "output_stationary"), "dataflow"),
        (("--timing", "scalesim"), "timing"),
        (("--seed", "1"), "seed"),
    ],
)
def test_an_option_changes_something(workplace, arguments, field):
    for name, extra in (("a.json", ()), ("b.json", arguments)):
        assert simulate("--method", "minmax", "--json", name, *extra) == 0
    a, b = (json.loads((workplace / name).read_text()) for name in ("a.json", "b.json"))
    assert a["run"][field] != b["run"][field]
    if field != "seed":
        assert a["totals"] != b["totals"]


def test_base_and_method_options_reach_the_method(workplace):
    arguments = ("--base", "minmax", "--option", "taps=1", "--json", "a.json")
    assert simulate("--method", "scalepredictor", *arguments) == 0
    result = json.loads((workplace / "a.json").read_text())
    assert result["run"]["base"] == "minmax"
    assert sum(row["op"] == "range_extract" for row in result["layers"]) == 1


TOML_MISTAKES = {
    "misspelt": ("colums = 16\ncols = 16", "colums"),
    "negative": ("columns = -16", "columns"),
}


def write_mistakes(workplace):
    """Files with one thing wrong each."""
    weights = workplace / "weights.safetensors"
    import torch

    save_file({"a": torch.zeros(3)}, weights)
    (workplace / "truncated.safetensors").write_bytes(weights.read_bytes()[:-5])
    (workplace / "evil.pt").write_bytes(pickle.dumps(print))
    (workplace / "empty").mkdir()
    broken = workplace / "broken" / "n01440764"
    broken.mkdir(parents=True)
    (broken / "image.png").write_bytes(b"not an image")
    named = workplace / "named" / "cats"
    named.mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(named / "cat.png")
    from importlib.resources import files

    preset = (files("hwq.arch") / "presets" / "edge_16x16.toml").read_text()
    for name, (text, _) in TOML_MISTAKES.items():
        changed = preset.replace("columns = 16", text, 1)
        assert changed != preset
        (workplace / f"{name}.toml").write_text(changed)
    (workplace / "syntax.toml").write_text("name = \n")
    text = (workplace / "tiny_for_cli.py").read_text()
    (workplace / "few_for_cli.py").write_text(text.replace("num_classes=1000", "num_classes=10"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--model", "deit_z"), 2, ("model", "deit_z", "deit_t")),
        (("--model", "nowhere:build"), 2, ("nowhere",)),
        (("--model", "tiny_for_cli:missing"), 2, ("missing",)),
        (("--model", "tiny_for_cli:number"), 2, ("nn.Module", "int")),
        (("--method", "minmix"), 2, ("method", "minmix", "minmax")),
        (("--base", "minmax"), 2, ("minmax", "base")),
        (("--method", "scalepredictor", "--base", "scalepredictor"), 2, ("base",)),
        (("--option", "softmax=cubic"), 2, ("softmax", "cubic", "log2")),
        (("--option", "depth=3"), 2, ("option", "softmax")),
        (("--option", "softmax"), 2, ("option", "name=value")),
        (("--accelerator", "edge_33x33"), 2, ("accelerator", "edge_33x33", "edge_32x32")),
        (("--accelerator", "misspelt.toml"), None, ("misspelt.toml", "colums", "columns")),
        (("--accelerator", "negative.toml"), None, ("negative.toml", "columns", "-16")),
        (("--accelerator", "syntax.toml"), None, ("syntax.toml",)),
        (("--bits", "w1a99"), 2, ("bits", "1", "2..8")),
        (("--bits", "8"), 2, ("bits", "w8a8")),
        (("--dataflow", "sideways"), 2, ("dataflow", "sideways")),
        (("--limit", "0"), 2, ("limit", "0")),
        (("--seed", "-1"), 2, ("seed", "-1")),
        (("--limit", "many"), 2, ("limit", "many")),
        (("--weights", "truncated.safetensors"), 1, ("truncated.safetensors",)),
        (("--weights", "weights.safetensors"), 1, ("another model", "cls_token")),
        (("--weights", "evil.pt"), 1, ("evil.pt",)),
        (("--weights", "nothing.pt"), 1, ("nothing.pt", "no such file")),
        (("--weights", "weights.safetensors", "--pretrained"), 2, ("weights", "pretrained")),
        (("--calib", "empty"), 1, ("empty", "no images")),
        (("--calib", "nowhere"), 1, ("nowhere", "no such folder")),
        (("--calib", "broken"), 1, ("image.png",)),
        (("--calib", "images", "--data", "broken"), 1, ("image.png",)),
        (("--calib", "images", "--data", "named"), 1, ("cats", "wnid")),
        (("--data", "images"), 2, ("data", "calib")),
        (("--csv", "nowhere/out.csv"), 1, ("nowhere", "no such folder")),
        (("--json", "images"), 1, ("cannot write images", "it is a folder")),
        (("--json", "/proc/out.json"), 1, ("/proc/out.json", "cannot be written")),
        (("--work", "tiny_for_cli.py"), 1, ("work folder tiny_for_cli.py", "File exists")),
        (("--model", ":f"), 2, ("model ':f'", "module:function")),
        (("--model", "deit_tiny_patch16_224.nothing"), 2, ("nothing", "tag")),
        (
            ("--model", "few_for_cli:build", "--calib", "images", "--data", "images"),
            *(2, ("10", "1000")),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_mistake_is_one_clear_line(workplace, capsys, arguments, code, words):
    write_mistakes(workplace)
    before = {path for path in workplace.rglob("*") if "__pycache__" not in path.parts}
    given = ["simulate", "--method", "minmax", "--json", "out.json"]
    if "--model" not in arguments:
        given += ["--model", "tiny_for_cli:build"]
    try:
        status = main([*given, *arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("hwq: error:")]
    assert status in ({code} if code else {1, 2})
    assert len(lines) == 1 and "Traceback" not in captured.err
    assert all(word in lines[0] for word in words)
    after = {path for path in workplace.rglob("*") if "__pycache__" not in path.parts}
    assert after == before, "nothing half-written may be left"


def test_weights_of_another_width_and_grid(workplace, capsys):
    from timm.models.vision_transformer import VisionTransformer

    module = VisionTransformer(
        img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=1000
    )
    save_file(
        {k: v.half().contiguous() for k, v in module.state_dict().items()}, "half.safetensors"
    )
    given = ["simulate", "--model", "tiny_for_cli:build", "--method", "minmax"]
    given += ["--weights", "half.safetensors", "--json", "out.json"]
    assert main(given) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "pos_embed" in line and "--resample_pos_embed" in line
    assert main([*given, "--resample_pos_embed"]) == 0
    notes = " ".join(json.loads(Path("out.json").read_text())["run"]["notes"])
    assert "float16, converted to float32" in notes and "resampled" in notes


@pytest.mark.parametrize("what", ["methods", "accelerators", "quantizers", "models"])
def test_lists_names(what, capsys):
    assert main(["list", what]) == 0
    names = capsys.readouterr().out.split()
    expected = {"methods": "minmax", "accelerators": "edge_32x32", "models": "deit_s"}
    assert expected.get(what, "log_sqrt2") in names


def test_a_format_that_does_not_hold_its_tensor_is_refused_before_a_number(
    workplace, capsys, monkeypatch
):
    monkeypatch.setattr("hwq.runtime.node_check.LEAST_DB", 200.0)
    assert simulate("--method", "minmax") == 1
    out, err = capsys.readouterr()
    assert "cycles" not in out
    (line,) = [text for text in err.splitlines() if "dB from what they stand for" in text]
    assert "at least 200 dB are needed" in line and "signed 16 bits" in line
