"""`hwq calibrate`, and `hwq simulate --checkpoint`, as a user meets them."""

import json

import jsonschema
import pytest
from safetensors.numpy import load_file

from hwq.cli.main import main
from hwq.report.to_json import load_schema


def calibrate(*arguments):
    given = ["calibrate", "--model", "tiny_for_cli:build", "--calib", "images"]
    return main([*given, *map(str, arguments)])


def simulate(*arguments):
    return main(["simulate", *map(str, arguments)])


@pytest.fixture
def calibrated(workplace):
    arguments = ("--method", "repq_vit", "--bits", "w4a4", "--out", "a.safetensors")
    assert calibrate(*arguments, "--save-images", "pixels.safetensors") == 0
    return workplace


def test_the_file_stands_for_the_method(calibrated, capsys):
    """Cost and accuracy are those of the fit itself; float figures need the float network."""
    images = ("--data", "images", "--json")
    method = ("--model", "tiny_for_cli:build", "--method", "repq_vit", "--bits", "w4a4")
    assert simulate(*method, "--calib", "images", *images, "fit.json") == 0
    assert simulate("--checkpoint", "a.safetensors", *images, "file.json") == 0
    beside = ("--checkpoint", "a.safetensors", "--model", "tiny_for_cli:build")
    assert simulate(*beside, *images, "both.json") == 0
    fit, file, both = (
        json.loads((calibrated / f"{name}.json").read_text()) for name in ("fit", "file", "both")
    )
    for result in (fit, file, both):
        jsonschema.validate(result, load_schema())
    assert fit["totals"] == file["totals"] == both["totals"]
    assert file["fidelity"]["top1_fp32"] is file["fidelity"]["agreement_fp32"] is None
    assert both["fidelity"] == fit["fidelity"]
    known = {name: fit["fidelity"][name] for name in ("top1_integer", "logit_sqnr_db", "images")}
    assert {name: file["fidelity"][name] for name in known} == known
    for name in ("model", "method", "bits", "seed"):
        assert file["run"][name] == fit["run"][name]
    assert file["run"]["checkpoint"] == "a.safetensors" and fit["run"]["checkpoint"] is None
    assert len(file["run"]["checkpoint_sha256"]) == 64
    assert "calibrated file: a.safetensors" in capsys.readouterr().out


def test_it_says_what_it_did_and_leaves_two_files(calibrated, capsys):
    left = {path.name for path in calibrated.iterdir()}
    assert left - {"__pycache__"} == {
        *("a.safetensors", "pixels.safetensors", "images", "tiny_for_cli.py")
    }
    arguments = ("--method", "minmax", "--out", "b.safetensors")
    assert calibrate(*arguments) == 0
    assert "wrote b.safetensors: calibrated in" in capsys.readouterr().out


def test_saved_pixels_give_the_same_file(calibrated):
    assert load_file("pixels.safetensors")["pixels"].shape == (6, 3, 32, 32)
    arguments = ("--method", "repq_vit", "--bits", "w4a4", "--out", "b.safetensors")
    assert calibrate(*arguments, "--calib", "pixels.safetensors") == 0
    one, other = (calibrated / name for name in ("a.safetensors", "b.safetensors"))
    assert one.read_bytes() == other.read_bytes()


def test_a_work_folder_that_is_named_stays(workplace):
    arguments = ("--method", "minmax", "--out", "a.safetensors", "--work", "w")
    assert calibrate(*arguments) == 0
    assert (workplace / "w" / "request.json").is_file()
    assert calibrate(*arguments) == 2
    assert calibrate(*arguments, "--resume") == 0


def test_seed_base_and_options_reach_the_file(workplace):
    base = ("--method", "scalepredictor", "--base", "minmax")
    options = ("--option", "taps=1", "--option", "base.softmax=log2", "--seed", "3")
    assert calibrate(*base, *options, "--out", "a.safetensors") == 0
    assert simulate("--checkpoint", "a.safetensors", "--json", "a.json") == 0
    run = json.loads((workplace / "a.json").read_text())["run"]
    assert (run["base"], run["seed"]) == ("minmax", 3)


OUT = ("--out", "out.safetensors")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--method", "minmx", *OUT), 2, ("minmx", "minmax")),
        (("--method", "minmax"), 2, ("--out",)),
        (("--method", "minmax", "--out", "out.pt"), 2, ("out.pt", ".safetensors")),
        (("--method", "minmax", "--out", "no/out.safetensors"), 1, ("no such folder",)),
        (("--method", "minmax", "--save-images", "x", *OUT), 2, ("x", ".safetensors")),
        (("--method", "minmax", "--bits", "w1a1", *OUT), 2, ("bits",)),
        (("--method", "minmax", "--base", "repq_vit", *OUT), 2, ("minmax", "base")),
        (("--method", "minmax", "--option", "taps=1", *OUT), 2, ("taps", "softmax")),
        (("--method", "minmax", "--calib", "nowhere", *OUT), 1, ("nowhere",)),
        (("--method", "minmax", "--calib", "no.safetensors", *OUT), 1, ("no.safetensors",)),
        (("--method", "minmax", "--device", "tpu", *OUT), 2, ("device",)),
        (("--method", "minmax", "--weights", "no.pt", *OUT), 1, ("no.pt",)),
        (("--method", "minmax", "--work", "images", *OUT), 2, ("images", "--resume")),
        (("--method", "minmax", "--work", "images", "--resume", *OUT), 1, ("no work folder",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_mistake_is_one_clear_line(workplace, capsys, arguments, code, words):
    check_mistake(workplace, capsys, calibrate, arguments, code, words)


def check_mistake(workplace, capsys, run, arguments, code, words):
    before = {path for path in workplace.rglob("*") if "__pycache__" not in path.parts}
    try:
        status = run(*arguments)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("hwq: error:")]
    assert status == code and len(lines) == 1 and "Traceback" not in captured.err
    assert all(word in lines[0] for word in words), lines
    after = {path for path in workplace.rglob("*") if "__pycache__" not in path.parts}
    assert after == before, "nothing half-written may be left"


FILE = ("--checkpoint", "a.safetensors")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--checkpoint", "no.safetensors"), 1, ("no.safetensors", "no such file")),
        (("--checkpoint", "pixels.safetensors"), 1, ("pixels.safetensors", "hwq calibrate")),
        ((*FILE, "--method", "minmax"), 2, ("method", "checkpoint")),
        ((*FILE, "--bits", "w4a4"), 2, ("bits", "checkpoint")),
        ((*FILE, "--base", "minmax"), 2, ("base", "checkpoint")),
        ((*FILE, "--calib", "images"), 2, ("calib", "checkpoint")),
        ((*FILE, "--seed", "0"), 2, ("seed", "checkpoint")),
        ((*FILE, "--option", "a=1"), 2, ("option", "checkpoint")),
        ((*FILE, "--weights", "w.safetensors"), 2, ("weights", "model")),
        ((*FILE, "--model", "deit_t"), 2, ("a.safetensors", "tiny_for_cli:build", "deit_t")),
        ((*FILE, "--model", "tiny_for_cli:other"), 2, ("tiny_for_cli:other",)),
        ((*FILE, "--model", "tiny_for_cli:build", *("--weights", "w.safetensors")), 2, ("sha256",)),
        ((), 2, ("model", "method", "checkpoint")),
        (("--method", "minmax"), 2, ("model",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_mistake_with_the_file_is_one_clear_line(calibrated, capsys, arguments, code, words):
    if "w.safetensors" in arguments:
        import torch
        from safetensors.torch import save_file

        from hwq.models.catalog import create_network

        torch.manual_seed(0)
        state = create_network("tiny_for_cli:build", seed=5).module.state_dict()
        save_file(state, "w.safetensors")
    capsys.readouterr()
    check_mistake(calibrated, capsys, simulate, arguments, code, words)
