"""Run a quantised network in integers and cost it on an accelerator."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwq import __version__
from hwq.api.accuracy import Trial, chance_notes
from hwq.api.calibration import Job, fit
from hwq.api.measuring import measure
from hwq.api.network import (
    FloatNetwork,
    check_device,
    check_same_network,
    make_method,
    open_calibrated,
    requested_network,
    to_preprocessing,
)
from hwq.api.pricing import price
from hwq.arch.accelerator import Accelerator
from hwq.arch.load import load_accelerator
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER
from hwq.cost.result import RunInfo, SimulationResult
from hwq.errors import DataError, GraphError, SpecError, UsageError
from hwq.files import sha256
from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Quantized
from hwq.methods.calibration import Calibration
from hwq.methods.checkpoint import Calibrated
from hwq.methods.workspace import Track, no_track
from hwq.models.images import ImageFolder
from hwq.models.preprocessing import Preprocessing
from hwq.request import IN_THE_FILE, Request


@dataclass(frozen=True, eq=False)
class _Subject:
    """What is simulated: a calibrated network, with its float network where that is known."""

    calibrated: Calibrated
    source: FloatNetwork | None
    weights: Path | None
    file: Path | None
    calibration: Calibration | None = None

    def pixels(self, test: ImageFolder | None) -> NDArray[np.uint8]:
        """Return one image to check nodes on, a test image where there are any."""
        if test is not None:
            return next(iter(test.head(1).pixels()))
        known = self.calibration
        if known is None:
            known = Calibration.noise(self.preprocessing.input_size, 1, self.calibrated.origin.seed)
        pixels: NDArray[np.uint8] = known.pixels[0]
        return pixels

    @property
    def preprocessing(self) -> Preprocessing:
        """What its images go through."""
        return to_preprocessing(self.calibrated.origin)

    @property
    def graph(self) -> Graph:
        """The fake-quant network."""
        return self.calibrated.quantized.graph

    @property
    def weights_name(self) -> str:
        """File, "pretrained" or "random"."""
        kind = self.calibrated.origin.weights
        if kind != "file":
            return kind
        if self.weights is not None:
            return self.weights.name
        return "file" if self.file is None else self.file.name

    def notes(self) -> Iterator[str]:
        """Yield what a reader must know of weights and images."""
        origin = self.calibrated.origin
        if origin.weights == "random":
            yield "weights are seeded random"
        if origin.calibration["source"] == "noise":
            yield "calibrated on seeded noise: no calibration images given"
        if origin.calibration["source"] == "psaq":
            yield "calibrated on images synthesised from the network itself"


def simulate(request: Request, track: Track = no_track) -> SimulationResult:
    """Quantise a network, run it in integers, and cost it on an accelerator.

    Everything about the quantised network comes either from `method` and what goes with it, or
    from `checkpoint`. With a checkpoint, `model` and its weights are optional and only add the
    float network to compare with; they must be those that the file was made from.

    Parameters
    ----------
    request : Request
        With a method, `data` needs `calib`. Without `work` nothing of the fit is kept.
    track : callable, optional
        Shows progress; see `hwq.methods.workspace.Track`.

    Raises
    ------
    UsageError, SpecError
        For unknown names, values out of range and requests that contradict each other.
    DataError
        For files that cannot be used.
    ImportGraphError, GraphError
        For networks that the graph or the integer units cannot express.
    """
    check_device(request.device)
    machine = load_accelerator(request.accelerator)
    if request.checkpoint is not None:
        request.refuse(IN_THE_FILE, "and checkpoint exclude each other: the file has its own")
        subject = _from_file(request, request.checkpoint)
        images = Trial.of(request, subject.preprocessing, subject.graph)
        return _result(request, subject, machine, images, track)
    if request.resume and request.work is None:
        raise UsageError("resume needs work: the folder to go on in")
    if request.model is None or request.method is None:
        raise UsageError("model and method are needed where no checkpoint is given")
    method = make_method(request.method, request.base, request.options)
    bits = Bits.parse(request.bits or "w8a8")
    if request.data is not None and request.calib is None and not method.makes_images:
        raise UsageError("data needs calib: a method must not calibrate on what it is judged by")
    source = requested_network(request)
    images = Trial.of(request, source.preprocessing, source.graph)
    job = Job(source, method, bits, request.seed or 0, request.device)
    fitted = fit(job, request.calib, request.work, request.resume, track)
    subject = _Subject(fitted.calibrated, source, request.weights, None, fitted.images.calibration)
    return _result(request, subject, machine, images, track)


def lower(quantised: Quantized) -> Graph:
    """Return the integer graph of what a method returned."""
    return run_passes(quantised.graph, (*HOIST, *LOWER))


def _from_file(request: Request, file: Path) -> _Subject:
    """Read a calibrated file and, where a model is named, its float network."""
    loaded = open_calibrated(file)
    source = None
    if request.model is not None:
        source = requested_network(request, loaded.origin.seed)
        check_same_network(source, loaded.origin, file)
    elif request.weights is not None or request.pretrained:
        raise UsageError("weights need model: the file alone has no float network")
    return _Subject(loaded, source, request.weights, file)


@contextmanager
def naming(file: Path | None) -> Iterator[None]:
    """Say of which calibrated file a network is that integers cannot express."""
    try:
        yield
    except (GraphError, SpecError) as error:
        if file is None:
            raise
        raise DataError(f"calibrated file {file}: {error}") from error


def _result(
    request: Request, subject: _Subject, machine: Accelerator, images: Trial, track: Track
) -> SimulationResult:
    quantized, origin = subject.calibrated.quantized, subject.calibrated.origin
    with naming(subject.file):
        measured = measure(
            quantized.graph,
            subject.pixels(images.test),
            images,
            None if subject.source is None else subject.source.graph,
            # a calibrated file no longer has the float weights that layers are compared with
            layers=subject.file is None,
            track=track,
            device=request.device,
        )
    priced = price(measured.integer, machine, request.dataflow, request.timing)
    cost, fidelity = priced.cost, measured.fidelity
    notes = (*subject.notes(), *quantized.notes, *measured.nodes.notes())
    if cost.dataflow == "auto":
        notes += ("Dataflow auto is an exploration: no one array has the fastest for every layer.",)
    if fidelity is not None and origin.weights != "random":
        notes += chance_notes(fidelity.top1_fp32, fidelity.images)
    run = RunInfo(
        model=origin.model,
        method=origin.method,
        base=origin.base,
        bits=origin.bits,
        accelerator=machine.name,
        dataflow=cost.dataflow,
        seed=origin.seed,
        weights=subject.weights_name,
        images=0 if fidelity is None else fidelity.images,
        hwq_version=__version__,
        timing=cost.timing,
        notes=notes,
        weights_sha256=origin.weights_sha256 if origin.weights == "file" else None,
        checkpoint=None if subject.file is None else subject.file.name,
        checkpoint_sha256=None if subject.file is None else sha256(subject.file),
    )
    layers = measured.beside(priced.program, cost.layers)
    return SimulationResult(
        run, layers, cost.totals, fidelity, quantized.findings, measured.picture
    )
