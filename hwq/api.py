"""What the command line calls, as functions."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwq import __version__
from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER, prepare
from hwq.compiler.program import Program
from hwq.cost.estimate import estimate
from hwq.cost.result import Fidelity, LayerCost, ProgramCost, RunInfo, SimulationResult
from hwq.errors import UsageError
from hwq.graph.import_torch import import_torch
from hwq.graph.ir import Graph
from hwq.methods.base import METHODS, Bits, Method, Quantized
from hwq.methods.calibration import Calibration
from hwq.methods.evaluate import Evaluation, evaluate, layer_sqnr_db
from hwq.methods.workspace import Track, no_track
from hwq.models.catalog import Network, create_network
from hwq.models.images import open_images
from hwq.models.weights import load_weights

_NOISE_IMAGES = 4
_SQNR_IMAGES = 4


def simulate(
    model: str,
    method: str,
    *,
    base: str | None = None,
    bits: str = "w8a8",
    accelerator: str | Path = "edge_32x32",
    dataflow: str | None = None,
    timing: str | None = None,
    weights: Path | None = None,
    pretrained: bool = False,
    calib: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    track: Track = no_track,
) -> SimulationResult:
    """Quantise a network, run it in integers, and cost it on an accelerator.

    Parameters
    ----------
    model : str
        See `hwq.models.catalog.create_network`.
    method : str
        A key of `hwq.methods.base.METHODS`.
    base : str, optional
        The method that `scalepredictor` makes dynamic.
    bits : str, optional
        "w4a8": widths of weight and activation codes.
    accelerator : str or Path, optional
        A preset's name, or a TOML file.
    dataflow, timing : str, optional
        Instead of the accelerator's own.
    weights : Path, optional
        Checkpoint; without it and without `pretrained` weights are seeded random.
    pretrained : bool, optional
        Fetch timm's weights.
    calib : Path, optional
        Folder of images to calibrate on.
    data : Path, optional
        Folder of labelled images to measure accuracy on; needs `calib`.
    limit : int, optional
        Measure accuracy on the first so many images only.
    seed : int, optional
        Of random weights, of the choice of calibration images and of noise.
    options : Mapping, optional
        Fields of the method.
    track : callable, optional
        Shows progress; see `hwq.methods.evaluate.Track`.

    Raises
    ------
    UsageError, SpecError
        For unknown names and values out of range.
    DataError
        For files that cannot be used.
    ImportGraphError, GraphError
        For networks that the graph or the integer units cannot express.
    """
    _check_request(calib, data, limit, seed)
    machine = load_accelerator(accelerator)
    algorithm = _method(method, base, options or {})
    widths = Bits.parse(bits)
    network = create_network(model, pretrained=pretrained, seed=seed)
    digest = None if weights is None else load_weights(network.module, weights)
    test = None
    if data is not None:
        test = open_images(data, network.preprocessing, labelled=True).head(limit)
    calibration = _calibration(network, calib, algorithm.images, seed, track)
    graph = float_graph(network)
    quantised = algorithm.fit(graph, calibration, widths)
    hoisted = run_passes(quantised.graph, HOIST)
    integer = run_passes(hoisted, LOWER)
    program = emit_program(integer)
    cost = estimate(program, machine, dataflow=dataflow, timing=timing)
    layers, fidelity = cost.layers, None
    if test is not None:
        found = evaluate(graph, quantised.graph, integer, test.pixels(), test.labels, track)
        sqnr = layer_sqnr_db(hoisted, integer, list(test.head(_SQNR_IMAGES).pixels()))
        layers = _with_errors(program, cost, found, sqnr)
        fidelity = _fidelity(found)
    run = RunInfo(
        model=model,
        method=method,
        base=getattr(algorithm, "base", None),
        bits=str(widths),
        accelerator=machine.name,
        dataflow=cost.dataflow,
        seed=seed,
        weights=_weights_name(weights, network),
        images=0 if fidelity is None else fidelity.images,
        hwq_version=__version__,
        timing=cost.timing,
        notes=(*_notes(network, weights, calibration), *quantised.notes),
        weights_sha256=digest,
    )
    return SimulationResult(run, layers, cost.totals, fidelity, quantised.findings)


def float_graph(network: Network) -> Graph:
    """Import a network and prepare it: matrix products that read 8-bit pixels."""
    config = network.preprocessing
    imported = import_torch(network.module, (1, *config.input_size), network.name)
    return run_passes(imported, prepare(config.mean, config.std))


def lower(quantised: Quantized) -> Graph:
    """Return the integer graph of what a method returned."""
    return run_passes(quantised.graph, (*HOIST, *LOWER))


def _check_request(calib: Path | None, data: Path | None, limit: int | None, seed: int) -> None:
    if data is not None and calib is None:
        raise UsageError("data needs calib: a method must not calibrate on what it is judged by")
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, not {limit}")
    if seed < 0:
        raise UsageError(f"seed must not be negative, not {seed}")


def _method(name: str, base: str | None, options: Mapping[str, Any]) -> Method:
    kind = METHODS[name]
    fields = dict(options)
    if base is not None:
        if "base" not in getattr(kind, "__dataclass_fields__", {}):
            raise UsageError(f"method {name!r} takes no base")
        METHODS[base]
        fields["base"] = base
    try:
        return kind(**fields)
    except TypeError as error:
        known = ", ".join(getattr(kind, "__dataclass_fields__", {})) or "none"
        raise UsageError(f"method {name!r}: unknown option; known: {known}") from error


def _calibration(
    network: Network, calib: Path | None, count: int, seed: int, track: Track
) -> Calibration:
    if calib is None:
        return Calibration.noise(network.preprocessing.input_size, _NOISE_IMAGES, seed)
    images = open_images(calib, network.preprocessing, labelled=False).sample(count, seed)
    return Calibration.of(track(images.pixels(), "calibration images", len(images)))


def _weights_name(weights: Path | None, network: Network) -> str:
    if weights is not None:
        return weights.name
    return "pretrained" if network.pretrained else "random"


def _notes(network: Network, weights: Path | None, calibration: Calibration) -> list[str]:
    notes = []
    if weights is None and not network.pretrained:
        notes.append("weights are seeded random")
    if calibration.synthetic:
        notes.append("calibrated on seeded noise: no calibration images given")
    return notes


def _fidelity(found: Evaluation) -> Fidelity:
    return Fidelity(
        images=found.images,
        top1_fp32=found.top1_fp32,
        top1_fake_quant=found.top1_fake_quant,
        top1_integer=found.top1_integer,
        agreement_fp32=found.agreement_fp32,
        agreement_fake_quant=found.agreement_fake_quant,
        logit_sqnr_db=found.logit_sqnr_db,
    )


def _with_errors(
    program: Program, cost: ProgramCost, found: Evaluation, sqnr: Mapping[str, float]
) -> tuple[LayerCost, ...]:
    """Add saturations and SQNR to the layers that computed each tensor."""
    return tuple(
        replace(
            row,
            saturations=found.saturations.get(layer.out.tensor) if layer.op != "matmul" else None,
            sqnr_db=sqnr.get(layer.out.tensor),
        )
        for layer, row in zip(program.layers, cost.layers, strict=True)
    )
