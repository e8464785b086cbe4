"""A whole accelerator in a simulator: its bench built and kept, memories in, what it did out."""

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.arch.accelerator import Accelerator
from hwq.cache import source_digest
from hwq.compiler.program import Program
from hwq.errors import HwqError
from hwq.plan.bit_memory import BitMemory
from hwq.plan.commands import home_addresses, memory_images
from hwq.plan.layout import Grid
from hwq.plan.plan import Plan
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.records import Records
from hwq.rtl.shared import emit_whole
from hwq.sim.bank import BUILD_ROOT, BuildFailed, alone
from hwq.sim.tools import tool_environment, tool_versions

_FOLDER = Path(__file__).parent
BENCH, MAIN = _FOLDER / "accelerator_bench.v", _FOLDER / "accelerator_main.cpp"
_SOURCES = ("arch", "numerics", "plan", "rtl")
_VERILATOR = (
    *("verilator", "--cc", "--exe", "--build", "-j", "2", "-O3", "--top-module", "bench"),
    *("--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
)
_ICARUS = ("iverilog", "-g2012", "-s", "bench")
_LEAST_DEPTH = 1 << 16
_NOT_BUILT = {"name", "description", "clock_mhz", "technology_nm", "dram"}  # of a machine
AROUND = 500
"""Cycles of waves before and behind a difference."""
Int = NDArray[np.int64]
Progress = Callable[[int], None]
"""Is told how many slots have begun."""


class RunFailed(HwqError):
    """A simulation did not end; the message says where it stopped."""


@dataclass(frozen=True)
class Memories:
    """What lies in the memories around an accelerator before it starts.

    Parameters
    ----------
    beat_bits : int
        Bits of a word of the DRAM.
    dram : bytes
        Beats, one after another, the lowest bits first.
    records : Records
    """

    beat_bits: int
    dram: bytes
    records: Records

    @classmethod
    def of(
        cls,
        plan: Plan,
        program: Program,
        machine: Accelerator,
        records: Records,
        pixels: NDArray[np.uint8],
    ) -> "Memories":
        """Return those of a plan and an image."""
        images = memory_images(plan, program.constants)
        dram = images["dram"]
        written = {layer.out.tensor for layer in program.layers}
        for home in plan.homes:
            if home.tensor not in written and home.tensor not in program.constants:
                values = pixels.ravel().astype(np.int64)
                dram.write(home_addresses(home), values, home.bits, signed=False)
        weights = images["weight"].content if records.before else b""
        return cls(Grid.of(machine).beat_bits, dram.content + weights, records)

    def depths(self) -> dict[str, int]:
        """Return words of each memory, as parameters of the bench."""
        words = {
            "DRAM_DEPTH": -(-8 * len(self.dram) // self.beat_bits),
            "WORK_DEPTH": len(self.records.work),
            "TRANSFERS_DEPTH": len(self.records.transfers),
        }
        return {
            name: max(_LEAST_DEPTH, 1 << (count - 1).bit_length()) for name, count in words.items()
        }

    def write(self, folder: Path) -> None:
        """Write files for $readmemh."""
        size = self.beat_bits // 8
        beats = np.frombuffer(self.dram + bytes(-len(self.dram) % size), np.uint8)
        (folder / "dram.hex").write_text(_lines(beats.reshape(-1, size)[:, ::-1]))
        for name in ("work", "transfers"):
            words = np.array(getattr(self.records, name), ">u8").view(np.uint8).reshape(-1, 8)
            (folder / f"{name}.hex").write_text(_lines(words))


@dataclass(frozen=True)
class Dram:
    """How the DRAM of a bench behaves.

    Parameters
    ----------
    rate : Fraction
        Bits a cycle, at most a beat.
    latency : int in 0..255
        Cycles more than one until what is loaded is there.
    stalls : bool
        Whether beats wait longer, at random.
    """

    rate: Fraction
    latency: int = 0
    stalls: bool = False


@dataclass(frozen=True, eq=False)
class Trace:
    """What a run did.

    Parameters
    ----------
    begins : int64[slots + 1]
        Cycle in which each slot of the plan began, then that of the end.
    before : int
        Slots before those of the plan.
    log, tables : bytes
        A line for every word that a unit wrote to the activation buffer; parameter memory.
    dram : bytes
        The DRAM at the end.
    """

    begins: Int
    before: int
    log: bytes
    tables: bytes
    dram: BitMemory


def build(
    gateware: AcceleratorGateware,
    simulator: str,
    depths: Mapping[str, int],
    waves: bool = False,
    text: str | None = None,
) -> Path:
    """Return the folder of a bench's program: made, or kept from before.

    Parameters
    ----------
    gateware : AcceleratorGateware
    simulator : {"verilator", "icarus"}
    depths : mapping of str to int
        From `Memories.depths`.
    waves : bool
        Whether it can write waves.
    text : str, optional
        Verilog to use instead of what the gateware emits: a module `accelerator`.

    Raises
    ------
    BuildFailed
        If the simulator does not take it.
    """
    machine = gateware.machine
    parameters = {"BEAT": Grid.of(machine).beat_bits, **depths}
    key = (
        f"{tool_versions(simulator)} {_VERILATOR} {_ICARUS} {parameters} {gateware.function} "
        f"{gateware.max_length} {machine.model_dump_json(exclude=_NOT_BUILT)} "
        f"{source_digest(_SOURCES)} {BENCH.read_text()} {MAIN.read_text()} {waves} {text}"
    )
    folder = BUILD_ROOT / f"accelerator_{simulator}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with alone(folder):
        if not (folder / "finished").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "accelerator.v").write_text(text or emit_whole(gateware, "accelerator"))
            _compile(folder, simulator, parameters, waves)
            (folder / "finished").touch()
    return folder


def _compile(folder: Path, simulator: str, parameters: Mapping[str, int], waves: bool) -> None:
    if simulator == "verilator":
        command = [*_VERILATOR, *(f"-G{name}={value}" for name, value in parameters.items())]
        command += ["--Mdir", str(folder), "-o", "bench", str(MAIN)]
    else:
        command = [*_ICARUS, *(f"-Pbench.{name}={value}" for name, value in parameters.items())]
        command += ["-o", str(folder / "bench")]
    if waves:
        command += ["-DWAVES", *(["--trace"] if simulator == "verilator" else [])]
    command += [str(BENCH), str(folder / "accelerator.v")]
    with tool_environment(), (folder / "build.log").open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise BuildFailed(f"{simulator} could not compile the bench; see {folder / 'build.log'}")


def run(
    folder: Path,
    memories: Memories,
    dram: Dram,
    limit: int,
    progress: Progress | None = None,
    fault: int = 0,
) -> Trace:
    """Run a bench once.

    Parameters
    ----------
    folder : Path
        From `build`.
    memories : Memories
    dram : Dram
    limit : int
        Cycles after which it has failed.
    progress : callable, optional
    fault : int
        Which of the faults to switch on that `hwq.sim.accelerator_mutation` planted.

    Raises
    ------
    RunFailed
        If it does not end.
    """
    with tempfile.TemporaryDirectory(prefix="hwq-") as name:
        work = Path(name)
        last = -(-8 * len(memories.dram) // memories.beat_bits) - 1
        more = {"results": "results.txt", "first": 0, "last": last, "fault": fault}
        said = _wait(_program(folder, work, memories, dram, limit, more), work, progress)
        if not said.startswith("done"):
            raise RunFailed(f"the simulation did not end: {said}")
        begins = np.array((work / "slots.txt").read_text().split(), np.int64)
        beats = np.frombuffer(bytes.fromhex((work / "results.txt").read_text()), np.uint8)
        after = BitMemory.of(beats.reshape(-1, memories.beat_bits // 8)[:, ::-1].tobytes())
        before = memories.records.before
        log, tables = (work.joinpath(f"{name}.txt").read_bytes() for name in ("log", "tables"))
        return Trace(begins[before:], before, log, tables, after)


def write_waves(
    folder: Path, memories: Memories, dram: Dram, limit: int, file: Path, cycle: int
) -> None:
    """Run a bench that was built with waves, and write those around a cycle (VCD)."""
    with tempfile.TemporaryDirectory(prefix="hwq-") as name:
        work = Path(name)
        more = {"waves": file, "from": max(cycle - AROUND, 0), "to": cycle + AROUND}
        _wait(_program(folder, work, memories, dram, limit, more), work, None)


def _program(
    folder: Path, work: Path, memories: Memories, dram: Dram, limit: int, more: Mapping[str, Any]
) -> list[str]:
    """Write what a bench reads, and return its command line."""
    memories.write(work)
    rate = dram.rate / memories.beat_bits
    plus = {
        **{file: f"{file}.hex" for file in ("dram", "work", "transfers")},
        **{file: f"{file}.txt" for file in ("log", "tables", "slots")},
        **{"rate": f"{rate.numerator:x}", "needs": f"{rate.denominator:x}"},
        "latency": dram.latency,
        **{"stalls": int(dram.stalls), "limit": limit},
        **more,
    }
    program = [str(folder / "bench"), *(f"+{key}={value}" for key, value in plus.items())]
    return program if (folder / "Vbench.h").exists() else ["vvp", "-n", *program]


def _wait(program: list[str], work: Path, progress: Progress | None) -> str:
    """Return what a program says in the end, telling meanwhile how far it is."""
    slots = work / "slots.txt"
    with tool_environment(), (work / "said.txt").open("w+") as said:
        process = subprocess.Popen(program, cwd=work, stdout=said, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if progress is not None:
                    progress(slots.read_bytes().count(b"\n") if slots.exists() else 0)
        finally:
            process.kill()
        said.seek(0)
        # Icarus warns of memories that are not full
        lines = (line.strip() for line in said if not line.startswith("WARNING"))
        return next(lines, "")


def _lines(rows: NDArray[np.uint8]) -> str:
    return "".join(f"{row.tobytes().hex()}\n" for row in rows)
