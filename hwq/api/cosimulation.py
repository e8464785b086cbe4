"""Run a quantised network on its accelerator's own gateware, in a simulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.api.accuracy import read_picture
from hwq.api.calibration import Job, fit
from hwq.api.network import (
    check_device,
    make_method,
    open_calibrated,
    requested_network,
    to_preprocessing,
)
from hwq.api.pricing import Priced, price
from hwq.api.simulation import lower, naming
from hwq.arch.accelerator import Accelerator
from hwq.arch.load import load_accelerator
from hwq.compiler.program import VectorLayer
from hwq.errors import UsageError
from hwq.graph.ir import Graph
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.checkpoint import Calibrated
from hwq.methods.workspace import Track, no_track
from hwq.plan.plan import Plan
from hwq.plan.slots import unroll
from hwq.plan.timing import Timer
from hwq.request import COSIMULATE, IN_THE_FILE, Request
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.records import records
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.sim.accelerator import Memories, build, run, write_waves
from hwq.sim.network import Comparison, compare, dram_of
from hwq.sim.tools import find_simulator

_LONGEST_ROW = 1024
_PATIENCE = 4
"""How many times the cycles of the plan a run may take."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network in integers on a machine, and an image.

    Parameters
    ----------
    graph : Graph
        Of integers.
    priced : Priced
    machine : Accelerator
    pixels : uint8[C, H, W]
    """

    graph: Graph
    priced: Priced
    machine: Accelerator
    pixels: NDArray[np.uint8]


def cosimulate(
    request: Request,
    image: Path | None = None,
    layers: str | None = None,
    simulator: str = "auto",
    stalls: bool = False,
    waves: Path | None = None,
    track: Track = no_track,
) -> Comparison:
    """Run a network on the gateware of its accelerator, and compare all that it does.

    Every word that it stores must be that of the integer network, and every step must take the
    cycles of the cost model. Builds of the simulator are kept in the user's cache folder.

    Parameters
    ----------
    request : Request
        Fields of `hwq.request.COSIMULATE`.
    image : Path, optional
        By default the first calibration image, or noise.
    layers : str, optional
        Stop after this layer, or the last one in this module.
    simulator : {"auto", "verilator", "icarus"}
    stalls : bool
        Whether the DRAM waits at random; then cycles are not compared.
    waves : Path, optional
        File (VCD) for what happens around the first difference.
    track : callable, optional
        Shows progress; see `hwq.methods.workspace.Track`.

    Raises
    ------
    UsageError, SpecError, DataError, GraphError
        As `simulate`; for what the gateware has no part for, with the layer's name.
    HwqError
        If no simulator is there, or a run does not end.
    """
    request.only(COSIMULATE, "cosim")
    chosen = find_simulator(simulator)
    subject = open_subject(request, image, track)
    machine, priced = subject.machine, subject.priced
    plan, program = priced.plan, priced.program
    gateware = gateware_of(subject)
    slots = slots_until(plan, layers)
    commands = records(gateware, plan, program, slots)
    memories = Memories.of(plan, program, machine, commands, subject.pixels)
    folder = build(gateware, chosen, memories.depths())
    names = [node.name for node in subject.graph.nodes]
    values = IntegerExecutor(subject.graph).run(subject.pixels, names).values
    dram, limit = dram_of(machine, stalls), _PATIENCE * priced.cost.totals.cycles + 10_000
    steps = iter(track(range(slots), f"{program.name} in {chosen}", slots))
    told = 0

    def progress(begun: int) -> None:
        nonlocal told
        while told < begun:
            next(steps, None)
            told += 1

    trace = run(folder, memories, dram, limit, progress)
    progress(slots + 1)
    timer = Timer(machine, plan.timing)
    result = compare(plan, program, subject.pixels, trace, timer, values, not stalls)
    if result.difference is not None and waves is not None:
        cycle = int(trace.begins[0]) + max(result.difference.cycle, 0)
        folder = build(gateware, chosen, memories.depths(), waves=True)
        write_waves(folder, memories, dram, limit, waves.absolute(), cycle)
    return result


def open_subject(request: Request, image: Path | None, track: Track) -> Subject:
    """Quantise a network, or read a calibrated file, and plan it."""
    check_device(request.device)
    machine = load_accelerator(request.accelerator)
    calibrated, calibration = _calibrated(request, track)
    preprocessing = to_preprocessing(calibrated.origin)
    with naming(request.checkpoint):
        graph = lower(calibrated.quantized)
        priced = price(graph, machine)
    if image is not None:
        pixels: NDArray[np.uint8] = read_picture(image, preprocessing)
    else:
        if calibration is None:
            seed = calibrated.origin.seed
            calibration = Calibration.noise(preprocessing.input_size, 1, seed)
        pixels = calibration.pixels[0]
    return Subject(graph, priced, machine, pixels)


def _calibrated(request: Request, track: Track) -> tuple[Calibrated, Calibration | None]:
    if request.checkpoint is not None:
        request.refuse(IN_THE_FILE, "and checkpoint exclude each other: the file has its own")
        request.refuse(
            ("model", "weights", "pretrained"), "is not needed: the file has the network"
        )
        return open_calibrated(request.checkpoint), None
    if request.model is None or request.method is None:
        raise UsageError("model and method are needed where no checkpoint is given")
    method = make_method(request.method, request.base, request.options)
    bits = Bits.parse(request.bits or "w8a8")
    job = Job(requested_network(request), method, bits, request.seed or 0, request.device)
    fitted = fit(job, request.calib, request.work, False, track)
    return fitted.calibrated, fitted.images.calibration


def gateware_of(subject: Subject) -> AcceleratorGateware:
    """Return the gateware of a machine, with the activation function and the rows of a network."""
    layers = [x for x in subject.priced.program.layers if isinstance(x, VectorLayer)]
    specs: list[Any] = [layer.spec for layer in layers if layer.op == "activation"]
    function = specs[0].function if specs else "gelu"
    rows = [layer.length for layer in layers if layer.op in ("softmax", "layer_norm")]
    return AcceleratorGateware(subject.machine, function, max([_LONGEST_ROW, *rows]))


def slots_until(plan: Plan, layers: str | None) -> int:
    """Return how many slots a plan has, or until the last layer of a module is done.

    Raises
    ------
    UsageError
        If there is no such layer or module.
    """
    owners = [slot.owner.name for slot in unroll(plan)]
    if layers is None:
        return len(owners)
    wanted = [number for number, name in enumerate(owners, start=1) if is_in(name, layers)]
    if not wanted:
        raise UsageError(f"layers must be the name of a layer or a module, not {layers!r}")
    return wanted[-1]


def is_in(name: str, module: str) -> bool:
    """Whether a layer is this one, or in this module: blocks.10 is not in blocks.1."""
    return name == module or name.startswith(f"{module}.")
