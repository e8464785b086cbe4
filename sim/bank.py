"""Several units in one simulator program, each with its driver."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hwq.cache import cache_root
from hwq.errors import DataError, HwqError
from hwq.rtl.emit import emit
from hwq.rtl.payload import width
from hwq.rtl.pipeline import StreamUnit
from hwq.sim.tools import MAKE_FLAGS, tool_environment, tool_versions

BUILD_ROOT = cache_root() / "sim"
"""Where builds are kept, by the hash of what they were made from."""
TOP = "bank"
PUBLIC = "/*verilator public_flat_rw*/"
DRIVER = Path(__file__).with_name("stream_driver.v")
BUILD_ARGS = {
    # Amaranth leaves widths to the context, which Verilator reports
    "verilator": ["-Wno-WIDTH", "--no-public-flat-rw"],
    "icarus": [],
}
SIGNALS = ("payload", "valid", "ready")


class BuildFailed(HwqError):
    """The simulator refused the Verilog; the message names the log."""


def bank_text(units: Mapping[str, StreamUnit]) -> str:
    """Return a Verilog module that holds every unit beside a driver of its own.

    Each has its own clock, so that the others cost no time.
    """
    ports, body = [], []
    for name, unit in units.items():
        ports += [f"input {name}_clk {PUBLIC}", f"input {name}_rst {PUBLIC}"]
        ports.append(f"output {name}_done {PUBLIC}")
        bits = {side: width(getattr(unit, side).payload.shape()) for side in "io"}
        # what follows an input of the top is computed anew at each edge, and the next value of
        # every register follows the reset: with this register large units run twice as fast
        body.append(f"  reg {name}_reset;")
        body.append(f"  always @(negedge {name}_clk) {name}_reset <= {name}_rst;")
        connections = [f".clk({name}_clk)", f".rst({name}_reset)"]
        for side in "io":
            body.append(f"  wire [{bits[side] - 1}:0] {name}_{side}_payload;")
            body.append(f"  wire {name}_{side}_valid, {name}_{side}_ready;")
            connections += [f".{side}__{signal}({name}_{side}_{signal})" for signal in SIGNALS]
        joined = ", ".join(connections)
        parameters = f".I({bits['i']}), .O({bits['o']})"
        body.append(f"  hwq_stream_driver #({parameters}) d_{name} (.done({name}_done), {joined});")
        body.append(f"  {name} u_{name} ({joined});")
    return "\n".join([f"module {TOP} (", ",\n".join(ports), ");", *body, "endmodule", ""])


@dataclass(frozen=True)
class Bank:
    """A simulator program of several units.

    Parameters
    ----------
    simulator : str
        "verilator" or "icarus".
    folder : Path
        Where the program is.
    waves : str
        Suffix of the waves that it can write, ".fst" or ".vcd"; empty without.
    """

    simulator: str
    folder: Path
    waves: str = ""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a build, so that two processes do not make the same one."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(".lock").open("w")
    except OSError as error:
        raise DataError(f"{folder.parent}: builds cannot be kept ({error.strerror})") from error
    with lock as file:
        try:
            import fcntl
        except ImportError:  # no such lock on this system
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(
    simulator: str,
    units: Mapping[str, StreamUnit],
    texts: Mapping[str, str] | None = None,
    waves: str = "",
) -> Bank:
    """Compile a bank of `units`, or reuse the build of the same text.

    Parameters
    ----------
    simulator : str
        From `find_simulator`.
    units : mapping of str to StreamUnit
        Name in the bank -> unit.
    texts : mapping of str to str, optional
        Verilog to use instead of what the unit emits.
    waves : str, optional
        ".fst" or ".vcd": the program can write waves; Icarus writes the former only.

    Raises
    ------
    BuildFailed
        If the simulator does not take it; of waves, where a library is missing.
    """
    texts = texts or {name: emit(unit, name) for name, unit in units.items()}
    return build_text(
        simulator, "\n".join([DRIVER.read_text(), *texts.values(), bank_text(units)]), waves
    )


def build_text(simulator: str, text: str, waves: str = "") -> Bank:
    """Compile the Verilog of a bank, whose top module is TOP, or reuse the build of the same text.

    Parameters
    ----------
    simulator : str
        From `find_simulator`.
    text : str
        All modules.
    waves : str, optional
        ".fst" or ".vcd": the program can write waves; Icarus writes the former only.

    Raises
    ------
    BuildFailed
        If the simulator does not take it; of waves, where a library is missing.
    """
    arguments = [*BUILD_ARGS[simulator]]
    if waves == ".fst" and simulator == "verilator":
        arguments.append("--trace-fst")
    key = f"{tool_versions(simulator)} {arguments} {waves} {MAKE_FLAGS} {text}"
    folder = BUILD_ROOT / f"{simulator}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with alone(folder):
        finished = folder / "finished"
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _compile(simulator, folder, text, arguments, bool(waves))
            finished.touch()
    return Bank(simulator, folder, waves)


def _compile(simulator: str, folder: Path, text: str, arguments: list[str], waves: bool) -> None:
    from cocotb_tools.runner import get_runner

    source = folder / f"{TOP}.v"
    source.write_text(text)
    log = folder / "build.log"
    runtime = _runtime(arguments) if simulator == "verilator" else None
    if runtime is not None and runtime.is_dir():
        # make must find them newer than the makefile, which Verilator is yet to write
        later = time.time() + 3600
        for file in runtime.iterdir():
            shutil.copyfile(file, folder / file.name)
            os.utime(folder / file.name, (later, later))
    try:
        with tool_environment():
            get_runner(simulator).build(
                sources=[source],
                hdl_toplevel=TOP,
                build_dir=folder,
                build_args=arguments,
                timescale=("1ns", "1ps"),
                always=True,
                waves=waves,
                log_file=log,
            )
    # cocotb's runner exits, or passes on what the tool's process raised
    except (SystemExit, RuntimeError, OSError, ValueError) as error:
        raise BuildFailed(f"{simulator} could not compile {source}; see {log}") from error
    if runtime is not None and not runtime.is_dir():
        partial = folder / "runtime"
        partial.mkdir()
        for file in folder.glob("verilated*.o"):
            shutil.copyfile(file, partial / file.name)
        with suppress(OSError):  # another process may have been first
            partial.rename(runtime)


def _runtime(arguments: list[str]) -> Path:
    """Folder of Verilator's own library, compiled: the same for all banks, most of a build."""
    compiler = Path(shutil.which("g++") or "g++").resolve()
    version = compiler.stat().st_mtime_ns if compiler.exists() else 0
    key = f"{metadata.version('verilator')} {compiler} {version} {arguments} {MAKE_FLAGS}"
    return BUILD_ROOT / f"runtime_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
