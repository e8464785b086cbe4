"""Write a whole accelerator for a hardware team, with a network that it runs if one is given."""

from dataclasses import fields
from pathlib import Path

from hwq.api.cosimulation import Subject, gateware_of, open_subject
from hwq.arch.load import load_accelerator
from hwq.errors import UsageError
from hwq.files import check_new_folder, new_folder
from hwq.methods.workspace import Track, no_track
from hwq.plan.timing import Timer
from hwq.request import COSIMULATE, Request
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.generation import hardware
from hwq.rtl.records import records
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.sim.accelerator import Memories
from hwq.sim.generation import NetworkFiles
from hwq.sim.generation_readme import network_section, readme


def generate(
    request: Request,
    out: Path,
    image: Path | None = None,
    axi: bool = False,
    track: Track = no_track,
) -> list[Path]:
    """Write an accelerator's Verilog and what belongs to it; return the files.

    With a network, also its memories, the results, and a bench that compares them and needs
    nothing of hwq. The same request writes the same bytes.

    Parameters
    ----------
    request : Request
        Fields of `hwq.request.COSIMULATE`; without model and checkpoint only `accelerator`.
    out : Path
        A new or an empty folder.
    image : Path, optional
        By default the first calibration image, or noise.
    axi : bool
        Add a wrapper with the names of AXI-Stream.
    track : callable, optional
        Shows progress; see `hwq.methods.workspace.Track`.

    Raises
    ------
    UsageError, SpecError, DataError, GraphError
        As `cosimulate`; for a folder that is not empty; for fields of a network without one.
    """
    request.only(COSIMULATE, "generate")
    check_new_folder(out)
    network, section = None, None
    if request.model is None and request.checkpoint is None:
        _refuse_network(request, image)
        gateware = AcceleratorGateware(load_accelerator(request.accelerator))
    else:
        subject = open_subject(request, image, track)
        gateware = gateware_of(subject)
        network = to_network(subject, gateware)
        form = subject.graph.tensors[network.result.tensor].quant
        section = network_section(network, form)
    with new_folder(out) as place:
        if network is not None:
            network.write(place)
        for name, text in hardware(gateware, axi).items():
            (place / name).write_text(text, encoding="utf-8")
        names = sorted(file.name for file in place.iterdir())
        (place / "README.md").write_text(readme(gateware, names, section), encoding="utf-8")
    return sorted(out.iterdir())


def _refuse_network(request: Request, image: Path | None) -> None:
    needs = "needs a network: give model or checkpoint"
    request.refuse((f.name for f in fields(request) if f.name != "accelerator"), needs)
    if image is not None:
        raise UsageError(f"image {needs}")


def to_network(subject: Subject, gateware: AcceleratorGateware) -> NetworkFiles:
    """Return a network as what its files are made of."""
    machine, plan, program = subject.machine, subject.priced.plan, subject.priced.program
    commands = records(gateware, plan, program)
    memories = Memories.of(plan, program, machine, commands, subject.pixels)
    values = IntegerExecutor(subject.graph).run(subject.pixels).values
    return NetworkFiles(Timer(machine, "rtl"), plan, program, memories, values)
