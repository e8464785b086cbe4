import csv
import io
import json
from dataclasses import asdict, replace

import pytest
from jsonschema import Draft202012Validator, ValidationError
from rich.console import Console

from hwq.report.evaluation import (
    FIGURES,
    EvaluationRow,
    EvaluationRun,
    EvaluationTable,
    load_evaluation_schema,
    print_evaluation,
    print_row,
    write_evaluation_csv,
    write_evaluation_json,
)

ROW = EvaluationRow(
    method="scalepredictor@ptq4vit",
    bits="w4a4",
    images=650,
    top1_fp32=81.54,
    top1_fake_quant=65.38,
    top1_integer=65.69,
    integer_only=8,
    fake_quant_only=6,
    agreement_fp32=70.0,
    agreement_fake_quant=90.0,
    integer_sqnr_fp32_db=5.25,
    fake_quant_sqnr_fp32_db=5.5,
    logit_sqnr_db=None,
    calibration_seconds=123.4,
    checkpoint_sha256="0" * 64,
)
RUN = EvaluationRun("deit_t", "weights.safetensors", "1" * 64, "psaq", 0, "cuda", "0.1.0")
TABLE = EvaluationTable(RUN, (ROW, replace(ROW, bits="w8a8", calibration_seconds=None)))
VALIDATOR = Draft202012Validator(load_evaluation_schema())


def test_json_is_the_contract(tmp_path):
    Draft202012Validator.check_schema(load_evaluation_schema())
    write_evaluation_json(TABLE, tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text())
    VALIDATOR.validate(content)
    assert content["rows"][0] == ROW.figures() and content["run"] == {**asdict(RUN), "notes": []}
    definitions = load_evaluation_schema()["$defs"]
    for name, part in (("run", asdict(RUN)), ("row", ROW.figures())):
        names = list(part)
        assert list(definitions[name]["properties"]) == definitions[name]["required"] == names


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.update(schema="hwq.evaluation/1"),
        lambda content: content.update(rows=[]),
        lambda content: content["run"].update(device="tpu"),
        lambda content: content["rows"][0].pop("integer_only"),
        lambda content: content["rows"][0].update(top1_integer=101),
        lambda content: content["rows"][0].update(extra=1),
        lambda content: content["rows"][0].update(checkpoint_sha256="0"),
    ],
)
def test_the_schema_refuses_what_is_not_the_contract(spoil):
    content = json.loads(json.dumps(TABLE.to_dict()))
    spoil(content)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(content)


def test_csv_has_a_row_each(tmp_path):
    write_evaluation_csv(TABLE.rows, tmp_path / "t.csv")
    first, second = csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text()))
    assert list(first) == [*FIGURES]
    assert first["top1_integer"] == "65.69" and second["calibration_seconds"] == ""


def printed(show, width):
    console = Console(file=io.StringIO(), width=width)
    show(console)
    return console.file.getvalue()


def test_the_table_says_it_all_in_eighty_columns():
    text = printed(lambda console: print_evaluation(TABLE, console), 80)
    line = next(line for line in text.splitlines() if "65.38" in line)
    for word in ("w4a4", "81.54", "65.69", "+0.31 ± 0.58", "5.2", "no noise", "123 s"):
        assert word in line
    assert "scalepredictor" in text and "psaq" in text and "650 images" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_row_is_one_line():
    text = printed(lambda console: print_row(ROW, console), 40)
    assert text.startswith("scalepredictor@ptq4vit w4a4: fp32 81.54, ") and text.count("\n") == 1
