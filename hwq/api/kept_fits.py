"""Calibrated files and what was found of them, in one folder: made once, then read."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hwq.api.calibration import Job, fit_images
from hwq.api.images import PSAQ, Images, psaq_request, read_images, synthesise
from hwq.api.network import FloatNetwork, make_method, open_calibrated
from hwq.api.work import (
    IMAGES,
    first_difference,
    open_work,
    read_json,
    remove,
    tidy,
    workspace,
)
from hwq.errors import DataError, SpecError, UsageError
from hwq.files import sha256, write_bytes, write_text
from hwq.graph.fields import check_fields
from hwq.methods.base import Bits, Method
from hwq.methods.checkpoint import Calibrated, to_bytes
from hwq.methods.workspace import Track
from hwq.report.evaluation import EvaluationRow

_ROW = "hwq.evaluation_row/2"
"""What a kept row looks like; one of another kind is measured anew."""

# label, network, digest of its file, seconds of its fit -> row
Judge = Callable[[str, Calibrated, str, float | None], EvaluationRow]


@dataclass(frozen=True)
class Notes:
    """What is kept beside a calibrated file: the seconds of its fit, its row, and of what."""

    calibration_seconds: float | None = None
    key: dict[str, Any] | None = None
    row: dict[str, Any] | None = None

    def write(self, path: Path) -> None:
        """Write the JSON that `read_json` reads."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def read_notes(path: Path) -> Notes:
    """Return what is kept beside a calibrated file; nothing where the file is not there.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    return read_json(path, Notes) if path.exists() else Notes()


def read_row(path: Path, content: dict[str, Any]) -> EvaluationRow:
    """Return the row of the notes in `path`; raise `DataError` when it has other fields."""
    try:
        check_fields(EvaluationRow, content)
    except SpecError as error:
        raise DataError(f"{path}: row: {error}") from error
    return EvaluationRow(**content)


@dataclass(frozen=True)
class Entry:
    """One fit: "scalepredictor@ptq4vit", what that means, and widths."""

    label: str
    method: Method
    bits: Bits

    @property
    def stem(self) -> str:
        """What its files are called."""
        return f"{self.label}-{self.bits}"

    @property
    def base(self) -> "Entry | None":
        """The fit that this one extends."""
        if self.method.extends is None:
            return None
        name, options = self.method.extends
        return Entry(name, make_method(name, None, options), self.bits)


@dataclass(frozen=True, eq=False)
class KeptFits:
    """Fits of one network in a folder.

    `<method>-<bits>.safetensors` is the calibrated file, `<method>-<bits>.json` its time and its
    row, `<method>-<bits>.work` what an unfinished fit has done, `psaq` the synthesised images.

    Parameters
    ----------
    network : FloatNetwork
    calib : Path or "psaq"
        Where calibration images are from.
    seed : int
    device : str
        Where torch runs.
    folder : Path
        Exists.
    track : Track
    """

    network: FloatNetwork
    calib: Path | str | None
    seed: int
    device: str
    folder: Path
    track: Track
    _images: dict[tuple[bool, int], Images] = field(default_factory=dict)

    def row(self, entry: Entry, images: str, judge: Judge) -> EvaluationRow:
        """Return the row of one fit on the test images whose digest is `images`.

        Raises
        ------
        UsageError
            When the folder holds the fit of another request; the field that differs is named.
        """
        calibrated, path = self._fit(entry)
        notes = path.with_suffix(".json")
        old_notes = read_notes(notes)
        digest, seconds = sha256(path), old_notes.calibration_seconds
        key = {"row": _ROW, "checkpoint_sha256": digest, "images_sha256": images}
        if old_notes.key == key and old_notes.row is not None:
            return read_row(notes, old_notes.row)
        row = judge(entry.label, calibrated, digest, seconds)
        Notes(seconds, key, asdict(row)).write(notes)
        return row

    def _fit(self, entry: Entry) -> tuple[Calibrated, Path]:
        """Return a calibrated network and its file."""
        job = Job(self.network, entry.method, entry.bits, self.seed, self.device)
        images = self._images_of(entry.method)
        origin = job.origin(images.describe()).to_dict()
        path = self.folder / f"{entry.stem}.safetensors"
        work = self.folder / f"{entry.stem}.work"
        if not path.exists():
            base, seconds = self._base_of(entry)
            open_work(work, origin, resume=True)
            with tidy(work):
                fitted = fit_images(job, images, work, self.track, base)
                total = None if seconds is None else seconds + fitted.seconds
                Notes(total).write(path.with_suffix(".json"))
                write_bytes(path, to_bytes(fitted.calibrated))
        remove(work)
        calibrated = open_calibrated(path)
        difference = first_difference(calibrated.origin.to_dict(), origin)
        if difference is not None:
            raise UsageError(
                f"{path} was calibrated for another request: {difference}; "
                "choose another work folder, or remove the file"
            )
        return calibrated, path

    def _base_of(self, entry: Entry) -> tuple[Calibrated | None, float | None]:
        """Return the base of a fit, fitted once for all that extend it, and its seconds if known.

        A file that was put into the folder has no time beside it.
        """
        if entry.base is None:
            return None, 0.0
        calibrated, path = self._fit(entry.base)
        notes = path.with_suffix(".json")
        old_notes = read_notes(notes)
        return calibrated, old_notes.calibration_seconds

    def _images_of(self, method: Method) -> Images:
        """Return the calibration images of a method; synthesised ones are the same for all."""
        key = (method.makes_images, method.images)
        if key not in self._images:
            arguments = (self.network, method, self.calib, self.seed, self.device, self.track)
            self._images[key] = read_images(*arguments) or self._synthesised
        return self._images[key]

    @cached_property
    def _synthesised(self) -> Images:
        request = {
            "model": self.network.name,
            "weights_sha256": self.network.sha256,
            "seed": self.seed,
            "device": self.device,
            "calibration": psaq_request(),
        }
        folder = self.folder / PSAQ
        open_work(folder, request, resume=True)
        with tidy(folder):
            place = workspace(folder, IMAGES, self.seed, self.track)
            return synthesise(self.network, self.device, place)
