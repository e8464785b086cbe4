"""The accuracy of several methods and widths, or of calibrated files, as one table."""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hwq import __version__
from hwq.accuracy import Accuracy
from hwq.api.accuracy import chance_notes, check_classes
from hwq.api.images import PSAQ, is_psaq
from hwq.api.integers import IntegerNetwork, open_integers
from hwq.api.kept_fits import Entry, KeptFits
from hwq.api.network import (
    FloatNetwork,
    check_device,
    check_same_network,
    make_method,
    open_calibrated,
    requested_network,
    to_preprocessing,
)
from hwq.api.simulation import lower
from hwq.errors import DataError, UsageError
from hwq.files import sha256
from hwq.methods.base import Bits
from hwq.methods.checkpoint import Calibrated
from hwq.methods.evaluate import evaluate as evaluate_network
from hwq.methods.evaluate import float_logits
from hwq.methods.origin import Origin
from hwq.methods.workspace import Track, no_track
from hwq.models.images import ImageFolder, open_images
from hwq.report.evaluation import EvaluationRow, EvaluationRun, EvaluationTable
from hwq.request import EVALUATE, Request

_BATCH = 64


def evaluate(
    request: Request,
    methods: Sequence[str] = (),
    bits: Sequence[str] = ("w8a8",),
    checkpoints: Sequence[Path] = (),
    on_row: Callable[[EvaluationRow], None] = lambda row: None,
    track: Track = no_track,
) -> EvaluationTable:
    """Fit every method at every width, and compare each with its fake-quant and float network.

    See `evaluate_integers` for calibrated files alone.

    Parameters
    ----------
    request : Request
        `model` and `data` are needed. In `work` the calibrated files stay, each with its time and
        its row; what is there is not done again. The options are "method.name" -> value; one holds
        for the method as a base, too.
    methods : sequence of str
        "repq_vit"; "scalepredictor@ptq4vit" for a method on a base.
    bits : sequence of str
        Every method is fitted at each.
    checkpoints : sequence of Path
        Calibrated files of this network: a row each.
    on_row : callable, optional
        Told of every row as soon as it is known.
    track : callable, optional
        Shows progress; see `hwq.methods.workspace.Track`.

    Raises
    ------
    UsageError, SpecError
        For unknown names, values out of range, and a work folder of another request.
    DataError
        For files that cannot be used.
    ImportGraphError, GraphError
        For networks that the graph or the integer units cannot express.
    """
    request.only(EVALUATE, "evaluate")
    check_device(request.device)
    if request.model is None or request.data is None:
        raise UsageError("model and data are needed")
    calib, seed, weights = request.calib, request.seed or 0, request.weights
    entries = make_entries(methods, bits, request.options)
    if not entries and not checkpoints:
        raise UsageError("nothing to evaluate: methods or checkpoint is needed")
    for entry in entries:
        if calib is None and not entry.method.makes_images:
            raise UsageError(f"method {entry.label!r} needs calib: images to calibrate on")
    files = [(path, open_calibrated(path)) for path in checkpoints]
    network = requested_network(request)
    check_classes(network.graph)
    for path, calibrated in files:
        check_same_network(network, calibrated.origin, path)
    preprocessing = network.preprocessing
    images = open_images(request.data, preprocessing, labelled=True).head(request.limit)
    judge = _Judge(network, images, request.device, track)
    rows: list[EvaluationRow] = []
    with _folder(request.work) as folder:
        fits = KeptFits(network, calib, seed, request.device, folder, track)
        for entry in entries:
            rows.append(fits.row(entry, judge.identity, judge.row))
            on_row(rows[-1])
    for path, calibrated in files:
        rows.append(judge.row(_label(path, calibrated.origin), calibrated, sha256(path), None))
        on_row(rows[-1])
    name = network.weights if weights is None else weights.name
    source = None if calib is None or not entries else PSAQ if is_psaq(calib) else "images"
    notes = network.notes
    if rows and network.weights != "random":
        notes += chance_notes(rows[0].top1_fp32, rows[0].images)
    run = EvaluationRun(
        request.model, name, network.sha256, source, seed, request.device, __version__, notes
    )
    return EvaluationTable(run, tuple(rows))


def evaluate_integers(
    request: Request,
    checkpoints: Sequence[Path],
    on_row: Callable[[EvaluationRow], None] = lambda row: None,
    track: Track = no_track,
) -> EvaluationTable:
    """Run the integer networks of calibrated files of one model, and no other networks.

    Parameters
    ----------
    request : Request
        `data` is needed, and `limit` may be given.
    checkpoints : sequence of Path
        Calibrated files, a row each.
    on_row, track : callable, optional
        See `evaluate`.

    Raises
    ------
    UsageError
        Without files or images, and for anything else in the request.
    DataError
        For files that cannot be used, and files of several models.
    """
    request.only(("data", "limit"), "evaluate with integers")
    if not checkpoints or request.data is None:
        raise UsageError("integers needs checkpoint and data")
    files = [(path, open_integers(path)) for path in checkpoints]
    first_file, first = files[0]
    for path, network in files:
        if network.network_id != first.network_id:
            raise DataError(f"{path} and {first_file} are of different networks")
        check_classes(network.graph)
    rows: list[EvaluationRow] = []
    for path, network in files:
        preprocessing = to_preprocessing(network.origin)
        images = open_images(request.data, preprocessing, labelled=True).head(request.limit)
        accuracy = _accuracy(network, images, track)
        rows.append(
            _row(_label(path, network.origin), network.origin, network.sha256, None, accuracy)
        )
        on_row(rows[-1])
    origin = first.origin
    run = EvaluationRun(
        origin.model, origin.weights, origin.weights_sha256, None, origin.seed, "cpu", __version__
    )
    return EvaluationTable(run, tuple(rows))


def _accuracy(network: IntegerNetwork, images: ImageFolder, track: Track) -> Accuracy:
    """Run an integer network on labelled images, a few at a time."""
    right = 0
    pixels = iter(track(images.pixels(), "accuracy", len(images)))
    for first in range(0, len(images), _BATCH):
        labels = images.labels[first : first + _BATCH]
        logits = network.logits(np.stack(list(islice(pixels, len(labels)))))
        right += int((logits.argmax(1) == np.array(labels)).sum())
    return Accuracy(images=len(images), top1_integer=100.0 * right / len(images))


def make_entries(
    methods: Sequence[str], bits: Sequence[str], options: Mapping[str, Any]
) -> list[Entry]:
    """Return what is to be fitted, every method at every width.

    Raises
    ------
    UsageError, SpecError
        For unknown names and options, and for what is asked for twice.
    """
    widths = [Bits.parse(text) for text in bits]
    entries: list[Entry] = []
    used: set[str] = set()
    for label in methods:
        name, _, base = label.partition("@")
        options_of_entry: dict[str, Any] = {}
        for key, value in options.items():
            method, dot, option = key.partition(".")
            if not dot:
                raise UsageError(f"option must look like method.name=value, not {key!r}")
            if method in (label, name, base):
                options_of_entry[f"base.{option}" if method == base else option] = value
                used.add(key)
        algorithm = make_method(name, base or None, options_of_entry)
        entries += [Entry(label, algorithm, width) for width in widths]
    for key in options:
        if key not in used:
            raise UsageError(f"option {key!r}: no such method among {', '.join(methods) or 'none'}")
    stems = [entry.stem for entry in entries]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UsageError(f"{stem} is asked for twice")
    return entries


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """Yield the work folder, or one that is gone afterwards."""
    if work is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"work folder {work}: {error.strerror}") from error
    yield work


@dataclass(frozen=True, eq=False)
class _Judge:
    """The test images, and the float network's logits for them, computed once."""

    network: FloatNetwork
    images: ImageFolder
    device: str
    track: Track
    _logits: list[Tensor] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Digest of what the images are: their names, sizes and labels."""
        files = zip(self.images.files, self.images.labels, strict=True)
        listed = [
            [file.parent.name, file.name, file.stat().st_size, label] for file, label in files
        ]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def row(
        self, label: str, calibrated: Calibrated, digest: str, seconds: float | None
    ) -> EvaluationRow:
        """Run the three networks; the float one only the first time."""
        images, quantized = self.images, calibrated.quantized
        if not self._logits:
            self._logits.append(
                float_logits(
                    self.network.graph, images.pixels(), len(images), self.track, self.device
                )
            )
        accuracy = evaluate_network(
            self._logits[0],
            quantized.graph,
            lower(quantized),
            images.pixels(),
            images.labels,
            self.track,
            self.device,
        ).accuracy
        return _row(label, calibrated.origin, digest, seconds, accuracy)


def _label(path: Path, origin: Origin) -> str:
    label = origin.method if origin.base is None else f"{origin.method}@{origin.base}"
    return f"{label} ({path.name})"


def _row(
    label: str, origin: Origin, digest: str, seconds: float | None, accuracy: Accuracy
) -> EvaluationRow:
    figures: dict[str, Any] = {name: _finite(value) for name, value in asdict(accuracy).items()}
    return EvaluationRow(
        method=label,
        bits=origin.bits,
        calibration_seconds=seconds,
        checkpoint_sha256=digest,
        **figures,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
