"""The accuracy of several calibrated networks on the same images: rows, CSV, JSON, table."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hwq.accuracy import Accuracy
from hwq.files import write_text

EVALUATION_SCHEMA: Final = "hwq.evaluation/2"
FIGURES: Final = (
    *("method", "bits", "images", "top1_fp32", "top1_fake_quant", "top1_integer"),
    *("integer_minus_fake_quant", "standard_error", "integer_only", "fake_quant_only"),
    *("agreement_fp32", "agreement_fake_quant"),
    *("integer_sqnr_fp32_db", "fake_quant_sqnr_fp32_db", "logit_sqnr_db"),
    *("calibration_seconds", "checkpoint_sha256"),
)
"""Columns of the CSV, and fields of a row of the JSON."""
_NAMES = ("method", "bits")
_FIGURES = ("fp32", "fq", "int", "int - fq", "SQNR fp32", "SQNR fq", "fit")
_CAPTION = (
    "top-1 in percent: fp32 float, fq fake-quant, int integer; int - fq in points ± standard "
    "error; SQNR of the integer logits in dB, to float and to fake-quant"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow(Accuracy):
    """Accuracy of one calibrated network.

    Parameters
    ----------
    method : str
        "scalepredictor@ptq4vit" for a method on a base; a file is named in brackets.
    bits : str
    calibration_seconds : float or None
        Wall-clock time of the fit; None for a file that was given.
    checkpoint_sha256 : str
        SHA-256 of the calibrated file.
    """

    method: str
    bits: str
    calibration_seconds: float | None
    checkpoint_sha256: str

    def figures(self) -> dict[str, Any]:
        """Return all that is written down of the row, in the order of `FIGURES`."""
        return {name: getattr(self, name) for name in FIGURES}


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """What all rows have in common.

    Parameters
    ----------
    model : str
    weights : str
        File, "pretrained" or "random".
    weights_sha256 : str
        SHA-256 of the file, or else of the module's parameters.
    calibration : str or None
        "images", "psaq"; None where only files are evaluated.
    seed : int
    device : str
        Where torch ran.
    hwq_version : str
    notes : tuple of str
        What a reader of the figures must know.
    """

    model: str
    weights: str
    weights_sha256: str
    calibration: str | None
    seed: int
    device: str
    hwq_version: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationTable:
    """What `hwq.api.evaluate` returns."""

    run: EvaluationRun
    rows: tuple[EvaluationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON types."""
        rows = [row.figures() for row in self.rows]
        run = {**asdict(self.run), "notes": list(self.run.notes)}
        return {"schema": EVALUATION_SCHEMA, "run": run, "rows": rows}


def write_evaluation_json(table: EvaluationTable, path: str | Path) -> None:
    """Write the table as JSON, `hwq/report/evaluation_schema.json`, whole or not at all."""
    text = json.dumps(table.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_evaluation_csv(rows: Sequence[EvaluationRow], path: str | Path) -> None:
    """Write the rows as CSV, whole or not at all; what does not apply is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=FIGURES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.figures() for row in rows)
    write_text(path, text.getvalue())


@cache
def load_evaluation_schema() -> dict[str, Any]:
    """Return the JSON schema of a table (draft 2020-12)."""
    file = resources.files("hwq.report").joinpath("evaluation_schema.json")
    return cast(dict[str, Any], json.loads(file.read_text(encoding="utf-8")))


def print_row(row: EvaluationRow, console: Console) -> None:
    """Print one row as one line of text."""
    name, bits, *figures = _cells(row)
    told = ", ".join(f"{key} {cell}" for key, cell in zip(_FIGURES, figures, strict=True))
    console.print(Text(f"{name} {bits}: {told}"), soft_wrap=True)


def print_evaluation(table: EvaluationTable, console: Console | None = None) -> None:
    """Print the table, by default to standard output."""
    grid = Table(
        title=_title(table),
        title_justify="left",
        title_style="",
        caption=_CAPTION,
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in _NAMES:
        grid.add_column(name, overflow="fold")
    for name in _FIGURES:
        grid.add_column(name.replace("SQNR ", "SQNR\n"), justify="right", no_wrap=True)
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in _cells(row)))
    console = console or Console()
    console.print(grid)
    for note in table.run.notes:
        console.print(Text(f"note: {note}", style="yellow"))


def _title(table: EvaluationTable) -> str:
    run = table.run
    images = table.rows[0].images if table.rows else 0
    calibrated = "" if run.calibration is None else f", calibrated on {run.calibration}"
    return f"{run.model}, weights {run.weights}, {images} images{calibrated}"


def _cells(row: EvaluationRow) -> list[str]:
    seconds = row.calibration_seconds
    return [
        row.method,
        row.bits,
        "-" if row.top1_fp32 is None else f"{row.top1_fp32:.2f}",
        "-" if row.top1_fake_quant is None else f"{row.top1_fake_quant:.2f}",
        f"{row.top1_integer:.2f}",
        _difference(row),
        "-" if row.top1_fp32 is None else _decibel(row.integer_sqnr_fp32_db),
        "-" if row.top1_fake_quant is None else _decibel(row.logit_sqnr_db),
        "-" if seconds is None else f"{seconds:.0f} s",
    ]


def _difference(row: EvaluationRow) -> str:
    points, error = row.integer_minus_fake_quant, row.standard_error
    return "-" if points is None or error is None else f"{points:+.2f} ± {error:.2f}"


def _decibel(value: float | None) -> str:
    return "no noise" if value is None else f"{value:.1f}"
