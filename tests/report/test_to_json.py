import copy
import json
import os

import pytest
from jsonschema import Draft202012Validator, ValidationError

from hwq.errors import DataError
from hwq.report.to_json import load_schema, to_json, write_json

VALIDATOR = Draft202012Validator(load_schema())


def test_the_schema_is_one():
    Draft202012Validator.check_schema(load_schema())


def test_a_result_validates_with_and_without_accuracy(result, measured):
    for found in (result, measured):
        VALIDATOR.validate(json.loads(to_json(found)))


def test_the_top_level_is_the_contract(result):
    content = json.loads(to_json(result))
    assert list(content) == ["schema", "run", "layers", "totals", "fidelity", "findings"]
    assert content["schema"] == "hwq.result/1"
    assert content["fidelity"] is None
    assert list(content["totals"]) == [
        "cycles",
        "latency_ms",
        "throughput_ips",
        "macs",
        "utilization",
        "dram_bytes",
        "energy_uj",
        "area_mm2",
        "peak_sram_bytes",
    ]


def test_the_schema_describes_exactly_the_fields_of_a_result(measured):
    content, definitions = json.loads(to_json(measured)), load_schema()["$defs"]
    for name, part in (
        ("run", content["run"]),
        ("layer", content["layers"][0]),
        ("totals", content["totals"]),
        ("fidelity", content["fidelity"]),
    ):
        assert list(definitions[name]["properties"]) == list(part)
        assert definitions[name]["required"] == list(part)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.update(extra=1),
        lambda content: content.pop("fidelity"),
        lambda content: content.update(schema="hwq.result/2"),
        lambda content: content.update(layers=[]),
        lambda content: content["run"].update(bits="8 bits"),
        lambda content: content["run"].update(unknown=1),
        lambda content: content["layers"][0].update(cycles=1.5),
        lambda content: content["layers"][0].update(cycles=-1),
        lambda content: content["layers"][0].pop("pe"),
        lambda content: content["layers"][0].update(pe="magic"),
        lambda content: content["layers"][0]["energy_pj"].update(fan=1.0),
        lambda content: content["layers"][0]["bits"].update(a=0),
        lambda content: content["totals"].update(utilization=1.2),
        lambda content: content["totals"].pop("area_mm2"),
    ],
)
def test_the_schema_refuses_what_is_not_the_contract(result, spoil):
    content = json.loads(to_json(result))
    VALIDATOR.validate(copy.deepcopy(content))
    spoil(content)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(content)


def test_numbers_survive_the_round_trip(result):
    content = json.loads(to_json(result))
    assert content["totals"]["energy_uj"] == result.totals.energy_uj
    assert sum(layer["cycles"] for layer in content["layers"]) == content["totals"]["cycles"]
    assert content["layers"][0]["sqnr_db"] == 31.5
    assert content["layers"][1]["saturations"] is None


def test_a_ratio_without_noise_is_null(measured):
    assert json.loads(to_json(measured))["fidelity"]["logit_sqnr_db"] is None


def test_it_writes_the_file_and_replaces_an_old_one(tmp_path, result):
    path = tmp_path / "result.json"
    path.write_text("old")
    path.chmod(0o640)
    write_json(result, path)
    assert path.read_text() == to_json(result)
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_new_file_has_ordinary_permissions(tmp_path, result):
    write_json(result, tmp_path / "ours.json")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours.json").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_failure_leaves_nothing_half_written(tmp_path, result, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hwq.files.Path.replace", full)
    with pytest.raises(DataError, match=r"result\.json: cannot be written \(No space left"):
        write_json(result, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_folder_that_is_not_there_is_named(tmp_path, result):
    with pytest.raises(DataError, match=r"none/result\.json: cannot be written \(No such file"):
        write_json(result, tmp_path / "none" / "result.json")
