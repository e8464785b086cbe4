"""The accuracy of several calibrated networks on the same images: rows, CSV, JSON, table."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hwq.files import write_text

EVALUATION_SCHEMA: Final = "hwq.evaluation/1"
_NAMES = ("method", "bits")
_FIGURES = ("fp32", "fq", "int", "int - fq", "SQNR fp32", "SQNR fq", "fit")
_CAPTION = (
    "top-1 in percent: fp32 float, fq fake-quant, int integer; int - fq in points ± standard "
    "error; SQNR of the integer logits in dB, to float and to fake-quant"
)


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One calibrated network.

    Parameters
    ----------
    method : str
        "scalepredictor@ptq4vit" for a method on a base; a file is named in brackets.
    bits : str
    images : int
    top1_fp32, top1_fake_quant, top1_integer : float
        Percent of the images.
    integer_minus_fake_quant, standard_error : float
        Points; the error is paired, sqrt(integer_only + fake_quant_only) / images.
    integer_only, fake_quant_only : int
        Images that only one of the two networks classifies as labelled.
    agreement_fp32, agreement_fake_quant : float
        Percent on which the integer network predicts what the other one does.
    integer_sqnr_fp32_db, fake_quant_sqnr_fp32_db, logit_sqnr_db : float or None
        SQNR of the logits: integer to fp32, fake-quant to fp32, integer to fake-quant; None where
        they are equal.
    calibration_seconds : float or None
        Wall-clock time of the fit; None for a file that was given.
    checkpoint_sha256 : str
        SHA-256 of the calibrated file.
    """

    method: str
    bits: str
    images: int
    top1_fp32: float | None
    top1_fake_quant: float
    top1_integer: float
    integer_minus_fake_quant: float
    standard_error: float
    integer_only: int
    fake_quant_only: int
    agreement_fp32: float | None
    agreement_fake_quant: float
    integer_sqnr_fp32_db: float | None
    fake_quant_sqnr_fp32_db: float | None
    logit_sqnr_db: float | None
    calibration_seconds: float | None
    checkpoint_sha256: str


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
        rows = [asdict(row) for row in self.rows]
        run = {**asdict(self.run), "notes": list(self.run.notes)}
        return {"schema": EVALUATION_SCHEMA, "run": run, "rows": rows}


def write_evaluation_json(table: EvaluationTable, path: str | Path) -> None:
    """Write the table as JSON, `hwq/report/evaluation_schema.json`, whole or not at all."""
    text = json.dumps(table.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_evaluation_csv(rows: Sequence[EvaluationRow], path: str | Path) -> None:
    """Write the rows as CSV, whole or not at all; what does not apply is empty."""
    text = io.StringIO(newline="")
    names = [one.name for one in fields(EvaluationRow)]
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
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
        f"{row.top1_fake_quant:.2f}",
        f"{row.top1_integer:.2f}",
        f"{row.integer_minus_fake_quant:+.2f} ± {row.standard_error:.2f}",
        _decibel(row.integer_sqnr_fp32_db),
        _decibel(row.logit_sqnr_db),
        "-" if seconds is None else f"{seconds:.0f} s",
    ]


def _decibel(value: float | None) -> str:
    return "no noise" if value is None else f"{value:.1f}"
