"""Fit a method to a network and keep what it found."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwq.api.images import (
    Images,
    is_psaq,
    psaq_request,
    read_images,
    save_images,
    synthesise,
)
from hwq.api.network import (
    FloatNetwork,
    check_device,
    make_method,
    make_origin,
    requested_network,
)
from hwq.api.work import FIT, IMAGES, earlier_seconds, open_work, remove, tidy, workspace
from hwq.errors import UsageError
from hwq.files import write_bytes
from hwq.graph.place import place
from hwq.methods.base import Bits, Method
from hwq.methods.checkpoint import Calibrated, to_bytes
from hwq.methods.origin import Origin
from hwq.methods.quantized_graph import check_quantized
from hwq.methods.workspace import Track, no_track
from hwq.request import CALIBRATE, Request


@dataclass(frozen=True, eq=False)
class Job:
    """One fit.

    Parameters
    ----------
    network : FloatNetwork
    method : Method
    bits : Bits
    seed : int
    device : str
        Where torch runs.
    """

    network: FloatNetwork
    method: Method
    bits: Bits
    seed: int
    device: str

    def origin(self, calibration: Mapping[str, Any]) -> Origin:
        """Return what the file will say, given what it says of its images."""
        return make_origin(
            self.network, self.method, str(self.bits), self.seed, self.device, calibration
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A calibrated network, its images, and the seconds that the fit took."""

    calibrated: Calibrated
    images: Images
    seconds: float


def calibrate(
    request: Request,
    out: Path | None = None,
    images: Path | None = None,
    track: Track = no_track,
) -> Fitted:
    """Quantise a network and write it to one file.

    Parameters
    ----------
    request : Request
        Only a method that makes its own images needs no `calib`. `work` is by default `out` with
        ".work" added, and then removed when the file is written.
    out : Path, optional
        The `.safetensors` file; without it nothing is written.
    images : Path, optional
        File for the pixels of the calibration images.
    track : callable, optional
        Shows progress; see `hwq.methods.workspace.Track`.

    Raises
    ------
    UsageError, SpecError
        For unknown names and values out of range, and a work folder of another request.
    DataError
        For files that cannot be used.
    ImportGraphError, GraphError
        For networks that the graph or the integer units cannot express.
    """
    request.only(CALIBRATE, "calibrate")
    check_device(request.device)
    for path in (out, images):
        if path is not None and path.suffix != ".safetensors":
            raise UsageError(f"{path}: the name must end in .safetensors")
    if request.model is None or request.method is None:
        raise UsageError("model and method are needed")
    calib = request.calib
    method = make_method(request.method, request.base, request.options)
    bits = Bits.parse(request.bits or "w8a8")
    if calib is None and not method.makes_images:
        raise UsageError(f"method {request.method!r} needs calib: images to calibrate on")
    if images is not None and method.makes_images and (calib is None or is_psaq(calib)):
        raise UsageError(f"images: method {request.method!r} makes its own and keeps none to write")
    job = Job(requested_network(request), method, bits, request.seed or 0, request.device)
    folder = request.work
    if folder is None and out is not None:
        folder = out.with_name(out.name + ".work")
    fitted = fit(job, calib, folder, request.resume, track)
    with tidy(folder):
        if images is not None:
            save_images(fitted.images, images)
        if out is not None:
            write_bytes(out, to_bytes(fitted.calibrated))
    if request.work is None and folder is not None:
        remove(folder)
    return fitted


def fit(
    job: Job, calib: Path | str | None, folder: Path | None, resume: bool, track: Track
) -> Fitted:
    """Fit a method, in a work folder where one is given; see `calibrate`."""
    images = read_images(job.network, job.method, calib, job.seed, job.device, track)
    if folder is not None:
        known = psaq_request() if images is None else images.describe()
        open_work(folder, job.origin(known).to_dict(), resume)
    with tidy(folder):
        if images is None:
            store = workspace(folder, IMAGES, job.seed, track)
            images = synthesise(job.network, job.device, store)
        return fit_images(job, images, folder, track)


def fit_images(
    job: Job, images: Images, folder: Path | None, track: Track, base: Calibrated | None = None
) -> Fitted:
    """Fit a method to images, in a work folder that is open, on a base that is fitted already."""
    store = workspace(folder, FIT, job.seed, track)
    earlier, start = earlier_seconds(folder), time.monotonic()
    graph, method = job.network.graph, job.method
    if base is not None:
        quantized = method.extend(base.quantized, graph, images.calibration, store)
    else:
        quantized = method.fit(graph, images.calibration, job.bits, store)
    # the compiler reads scales as arrays
    quantized = replace(
        quantized,
        graph=place(quantized.graph, "cpu"),
        notes=(*job.network.notes, *quantized.notes),
    )
    check_quantized(quantized.graph, job.network.preprocessing.input_size)
    seconds = earlier + time.monotonic() - start
    return Fitted(Calibrated(quantized, job.origin(images.describe())), images, seconds)
