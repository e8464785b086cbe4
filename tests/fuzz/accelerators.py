"""Accelerator files: other numbers, words, keys and bytes."""

import copy
import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwq.api.simulation import simulate
from hwq.arch.kinds import TIMINGS
from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER
from hwq.methods.checkpoint_reader import load_calibrated
from hwq.numerics.array import DATAFLOWS
from hwq.report.to_html import to_html
from hwq.report.to_json import to_json
from hwq.report.to_trace import to_trace
from hwq.request import Request
from tests.costs import cost_of
from tests.fuzz import mutate
from tests.fuzz.calibrated import FITS, original
from tests.fuzz.harness import Fault, accepts

_PRESETS = Path(__file__).parents[2] / "hwq/arch/presets"
_NUMBERS = ("1", "0", "-1", "7", "45", "65536", "65537", "1e-3", "1e5", "1e300", "1e-300", "nan")
_NUMBERS += (
    "inf",
    "-inf",
    "0.1",
    "4096",
    "268435456",
    "9" * 40,
    "9" * 5000,
    "1_000",
    "0x10",
    "10.0",
)


class Accelerators:
    """Read a changed file; what is accepted costs a small network, and every report is made."""

    name = "accelerators"

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"accelerator-{os.getpid()}.toml"
        calibrated = folder / f"network-{os.getpid()}.safetensors"
        calibrated.write_bytes(original(*FITS[1]))
        self.result = simulate(Request(checkpoint=calibrated))
        graph = load_calibrated(calibrated).quantized.graph
        self.program = emit_program(run_passes(graph, (*HOIST, *LOWER)))
        self.presets = []
        for file in sorted(_PRESETS.glob("*.toml")):
            content = tomllib.loads(file.read_text())
            self.presets.append((file.read_bytes(), content, mutate.places(content)))

    def run(self, rng: mutate.Rng) -> bool:
        """Try one file."""
        data, content, paths = mutate.pick(rng, self.presets)
        kind = rng.random()
        if kind < 0.1:
            data = mutate.flipped(rng, data)
        elif kind < 0.5:
            lines = data.decode().splitlines()
            number = int(mutate.pick(rng, [k for k, line in enumerate(lines) if "=" in line]))
            lines[number] = f"{lines[number].split('=')[0]}= {mutate.pick(rng, _NUMBERS)}"
            data = "\n".join(lines).encode()
        else:
            content = copy.deepcopy(content)
            for _ in range(int(rng.integers(1, 3))):
                mutate.tree(rng, content, paths)
            data = _toml(content).encode(errors="surrogateescape")
        self.path.write_bytes(data)
        dataflow = mutate.pick(rng, (None, "auto", *DATAFLOWS))
        timing = mutate.pick(rng, (None, *TIMINGS))
        return accepts(lambda: self._use(dataflow, timing))

    def _use(self, dataflow: str | None, timing: str | None) -> None:
        machine = load_accelerator(self.path)
        cost = cost_of(self.program, machine, dataflow, timing)
        if not (cost.totals.cycles > 0 and cost.totals.energy_uj > 0):
            raise Fault("no cycles, or no energy")
        run = replace(self.result.run, accelerator=machine.name)
        result = replace(self.result, run=run, layers=cost.layers, totals=cost.totals)
        for report in (to_json, to_html, to_trace):
            report(result)


def _toml(content: dict[Any, Any], name: str = "") -> str:
    """Return TOML of what is TOML, and something like it of what is not."""
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"[{name}]"] if name else []
    lines += [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in content.items()
        if key not in tables
    ]
    text = "\n".join(lines) + "\n"
    for key, value in tables.items():
        text += _toml(value, f"{name}.{key}" if name else str(key))
    return text
