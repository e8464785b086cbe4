"""`hwq cosim`: the gateware's Verilog in a simulator, against the integer arithmetic.

Units by themselves, or a whole network on its accelerator.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwq.cli.arguments import add_request, check_outputs, to_request, tracker
from hwq.errors import HwqError, UsageError
from hwq.files import write_text
from hwq.request import COSIMULATE

if TYPE_CHECKING:
    from rich.console import Console

SIMULATORS = ("auto", "verilator", "icarus")


class CosimFailed(HwqError):
    """At least one unit differs from its integer twin."""


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "cosim",
        help="run the gateware's Verilog against the integer arithmetic",
        description="Emits, builds and runs every unit with all its verified parameters: at full "
        "rate, after a reset, with random and with adversarial stalls. With --model or "
        "--checkpoint: a whole network on the gateware of its accelerator, every word that it "
        "stores and every cycle. Builds are kept in the user's cache folder.",
    )
    add = parser.add_argument
    add_request(add, COSIMULATE, seed="(default 0 for a network, 1 for stalls of units)")
    add("--image", type=Path, metavar="FILE", help="(default: the first calibration image)")
    add("--layers", metavar="NAME", help="stop after this layer, or this module's last")
    add("--stalls", action="store_true", help="let the DRAM wait at random")
    add("--waves", type=Path, metavar="FILE", help="waves (VCD) around the first difference")
    add("--unit", nargs="+", metavar="NAME", help="as `hwq list units` names them (default: all)")
    add("--simulator", choices=SIMULATORS, default="auto", help="(default %(default)s)")
    add("--vectors", type=int, metavar="N", help="use the first N inputs (default: all)")
    add("--mutations", action="store_true", help="plant faults; the benches must see each one")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run a network, the benches, or the planted faults."""
    check_outputs(arguments.json, arguments.waves)
    if arguments.model is not None or arguments.checkpoint is not None:
        _network(arguments)
        return
    if arguments.vectors is not None and arguments.vectors < 1:
        raise UsageError(f"vectors must be at least 1, not {arguments.vectors}")
    if arguments.vectors is not None and arguments.mutations:
        raise UsageError("vectors and mutations exclude each other: faults are run with all inputs")
    if arguments.seed is None:
        arguments.seed = 1
    from rich.console import Console

    from hwq.rtl.catalog import TWINS, twin
    from hwq.sim.tools import find_simulator

    stems = arguments.unit or list(TWINS)
    for stem in stems:
        twin(stem)
    simulator = find_simulator(arguments.simulator)
    console = Console(stderr=True)
    job = _mutations if arguments.mutations else _verify
    rows, failures = job(stems, simulator, arguments, console)
    if arguments.json is not None:
        content = {"simulator": simulator, "seed": arguments.seed, "rows": rows}
        write_text(arguments.json, json.dumps(content, indent=1) + "\n")
    if failures:
        raise CosimFailed("; ".join(failures))


def _network(arguments: argparse.Namespace) -> None:
    """Run a network on its accelerator and print what every step did."""
    for name in ("unit", "vectors", "mutations"):
        if getattr(arguments, name):
            raise UsageError(f"{name} is for units by themselves, not for a network")
    request = to_request(arguments, COSIMULATE)
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    with console.status("loading torch and timm"):
        from hwq import api
        from hwq.api.cosimulation import is_in

    result = api.cosimulate(
        request,
        arguments.image,
        arguments.layers,
        arguments.simulator,
        arguments.stalls,
        arguments.waves,
        tracker(console),
    )
    table = Table(title=f"{arguments.accelerator}, cycle by cycle", title_justify="left")
    table.add_column("step")
    for heading in ("slots", "cycles\nplanned", "\ncounted", "stalled", "elements\ncompared"):
        table.add_column(heading, justify="right")
    totals = [0] * 5
    for step in result.steps:
        row = step.slots, step.planned, step.counted, step.stalls, step.elements
        totals = [total + value for total, value in zip(totals, row, strict=True)]
        if arguments.layers is None or is_in(step.name, arguments.layers):
            table.add_row(step.name, *(f"{value:,}" for value in row))
    table.add_section()
    table.add_row("all", *(f"{value:,}" for value in totals))
    _print(table)
    if arguments.json is not None:
        content = {"steps": [asdict(step) for step in result.steps], "passed": result.passed}
        write_text(arguments.json, json.dumps(content, indent=1) + "\n")
    if result.difference is not None:
        raise CosimFailed(str(result.difference))
    if not result.passed:
        raise CosimFailed(
            f"{result.counted:,} cycles, not {result.planned:,}"
            if result.results_equal
            else "the results in DRAM are not those of the integer network"
        )


def _verify(
    stems: list[str], simulator: str, arguments: argparse.Namespace, console: "Console"
) -> tuple[list[dict[str, Any]], list[str]]:
    from rich.table import Table

    from hwq.sim.cases import verify_unit

    rows: list[dict[str, Any]] = []
    for stem in stems:
        with console.status(f"{stem} in {simulator}"):
            rows += verify_unit(stem, simulator, arguments.seed, arguments.vectors)
    table = Table(title=f"{simulator}, seed {arguments.seed}", title_justify="left")
    for heading in ("unit", "case"):
        table.add_column(heading)
    numbers = ("vectors", "cycles", "latency\nstated", "\nmeasured", "interval")
    for heading in (*numbers, "stalled\ncycles", "distinct\noutputs"):
        table.add_column(heading, justify="right")
    table.add_column("ok")
    keys = ("vectors", "cycles", "latency_stated", "latency_cycles", "interval_cycles")
    for row in rows:
        cells = [row.get(key) for key in (*keys, "stalled_cycles", "distinct_outputs")]
        shown = ["-" if value is None else f"{value:,}" for value in cells]
        table.add_row(row["unit"], row["case"], *shown, "ok" if row["ok"] else "FAILED")
    _print(table)
    return rows, [row["message"] for row in rows if not row["ok"]]


def _mutations(
    stems: list[str], simulator: str, arguments: argparse.Namespace, console: "Console"
) -> tuple[list[dict[str, Any]], list[str]]:
    from rich.table import Table

    from hwq.sim.mutation import run_mutations

    rows: list[dict[str, Any]] = []
    table = Table(title=f"planted faults, {simulator}, seed {arguments.seed}", title_justify="left")
    for heading in ("unit", "faults", "caught", "survived"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    for stem in stems:
        with console.status(f"{stem} in {simulator}"):
            outcomes = run_mutations(stem, simulator, arguments.seed)
        caught = sum(row["caught"] for row in outcomes)
        table.add_row(stem, *map(str, (len(outcomes), caught, len(outcomes) - caught)))
        rows += outcomes
    _print(table)
    return rows, [f"{r['unit']}: {r['fault']} is not seen" for r in rows if not r["caught"]]


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console()
    # a table in a file must not be folded to the width that a terminal would have
    Console(width=None if console.is_terminal else 120).print(table)
