"""What a work folder keeps as JSON: the request, the clock, the row of a table."""

import copy
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwq.api.kept_fits import read_notes, read_row
from hwq.api.work import earlier_seconds, open_work
from hwq.report.evaluation import EvaluationRow
from tests.fuzz import mutate
from tests.fuzz.harness import accepts

_ROW = EvaluationRow(
    images=10,
    top1_fp32=50.0,
    top1_fake_quant=50.0,
    top1_integer=50.0,
    integer_only=1,
    fake_quant_only=1,
    agreement_fp32=90.0,
    agreement_fake_quant=90.0,
    integer_sqnr_fp32_db=20.0,
    fake_quant_sqnr_fp32_db=None,
    logit_sqnr_db=30.0,
    method="minmax",
    bits="w4a4",
    calibration_seconds=1.5,
    checkpoint_sha256="0" * 64,
)
_REQUEST = {"method": "minmax", "options": {"softmax": "log2"}, "seed": 0, "bits": "w4a4"}
_NOTES = {"calibration_seconds": 1.5, "key": {"row": "hwq.evaluation_row/2"}, "row": asdict(_ROW)}
_CLOCK = {"seconds": 1.5, "started": 1.0e9}


class ReadBack:
    """Go on in a work folder whose JSON someone changed."""

    name = "read_back"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / f"work-{os.getpid()}"
        (self.folder / "fit").mkdir(parents=True)

    def run(self, rng: mutate.Rng) -> bool:
        """Try one folder."""
        contents: tuple[tuple[str, Any], ...] = (
            ("request.json", _REQUEST),
            ("clock.json", _CLOCK),
            ("notes.json", _NOTES),
        )
        changed = int(rng.integers(len(contents)))
        for number, (name, content) in enumerate(contents):
            (self.folder / name).write_bytes(_text(rng, content, number == changed))

        def go_on() -> None:
            open_work(self.folder, _REQUEST, resume=True)
            earlier_seconds(self.folder)
            notes = read_notes(self.folder / "notes.json")
            if notes.row is not None:
                read_row(self.folder / "notes.json", notes.row)

        return accepts(go_on)


def _text(rng: mutate.Rng, content: Any, change: bool) -> bytes:
    content = copy.deepcopy(content)
    if not change:
        return json.dumps(content).encode()
    mutate.tree(rng, content, mutate.places(content))
    data = mutate.json_text(rng, json.dumps(content)).encode()
    return mutate.flipped(rng, data) if rng.random() < 0.2 else data
