"""Command lines: verbs, options and values in any order."""

import contextlib
import io
import os
from importlib import import_module
from pathlib import Path

from hwq.cli.main import main
from tests.fuzz import mutate
from tests.fuzz.harness import Fault, check_line

_VERBS = ("simulate", "simulate", "calibrate", "evaluate", "list", "emit", "", "magic", "--help")
_WORDS = (
    "model",
    "method",
    "bits",
    "base",
    "accelerator",
    "dataflow",
    "timing",
    "weights",
    "calib",
)
_WORDS += ("data", "limit", "seed", "option", "work", "json", "csv", "html", "trace", "checkpoint")
_WORDS += ("picture", "out", "methods", "unit", "device", "magic", "save-images")
_FLAGS = ("--resume", "--pretrained", "--resample_pos_embed", "--check", "-h", "--version", "--")
_VALUES = (
    "",
    "0",
    "-1",
    "1e9",
    "9" * 5000,
    "minmax",
    "scalepredictor",
    "w8a8",
    "w1a1",
    "edge_16x16",
)
_VALUES += ("auto", "rtl", "missing.safetensors", "/dev/null", "/", ".", "a:b", ":f", "os:getcwd")
_VALUES += ("é", "\udc80", "\x1b[31m", "x=1", "softmax=log2", "psaq", "cpu", "cuda", "no/such/file")


class Arguments:
    """Run a command line that cannot succeed at much: no network of that name exists."""

    name = "arguments"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / f"arguments-{os.getpid()}"
        self.folder.mkdir()
        import_module("hwq.api")

    def run(self, rng: mutate.Rng) -> bool:
        """Try one command line."""
        given = [mutate.pick(rng, _VERBS)]
        for _ in range(int(rng.integers(0, 6))):
            if rng.random() < 0.15:
                given.append(mutate.pick(rng, _FLAGS))
            else:
                given += [f"--{mutate.pick(rng, _WORDS)}", mutate.pick(rng, _VALUES)]
        said, before = io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                code = _code(given)
        finally:
            os.chdir(before)
        if code not in (0, 1, 2):
            raise Fault(f"exit code {code}: {given}")
        if code:
            lines = said.getvalue().strip().splitlines()
            if not lines or not lines[-1].startswith("hwq: error: "):
                raise Fault(f"{given}: {said.getvalue()[-500:]!r}")
            check_line(lines[-1])
        return code == 0


def _code(given: list[str]) -> object:
    try:
        return main(given)
    except SystemExit as stop:
        return stop.code or 0
