"""Faults planted in a whole accelerator: all in one Verilog text, of which each run has one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.arch.accelerator import Accelerator
from hwq.compiler.program import Program
from hwq.errors import HwqError
from hwq.plan.plan import Plan
from hwq.plan.timing import Timer
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.records import records
from hwq.rtl.shared import emit_whole
from hwq.sim.accelerator import Memories, RunFailed, Trace, build, run
from hwq.sim.fault import Fault
from hwq.sim.faults_of_accelerators import OF_ACCELERATORS
from hwq.sim.mutation import NAME, FaultMisplaced, edits, module_body
from hwq.sim.network import compare, dram_of

_SWITCH = """
  reg [31:0] fault = 0;
  initial if (!$value$plusargs("fault=%d", fault)) fault = 0;
"""
# what is before an expression, the expression, and what is behind it
_EXPRESSION = re.compile(r"(.*?(?: <?= |if \(|\.\S+ ?\())(.*)(;|\))", re.DOTALL)
_FIELD = re.compile(r"\{([a-z]\w*(?:\.\w+|\[\d+\])*)\}")
_LONGER = 100
"""Cycles by which a run may last longer than the one without a fault."""
FAULTS: tuple[Fault, ...] = tuple(
    replace(fault, module=module) for module, faults in OF_ACCELERATORS.items() for fault in faults
)
"""All, from number 1 on."""


@dataclass(frozen=True, eq=False)
class Network:
    """What an accelerator with a fault is to run.

    Parameters
    ----------
    name : str
    plan, program : Plan, Program
    machine : Accelerator
        With the DRAM of the run.
    pixels : uint8[C, H, W]
    values : mapping of str to array
        Tensors of the integer network.
    """

    name: str
    plan: Plan
    program: Program
    machine: Accelerator
    pixels: NDArray[np.uint8]
    values: Mapping[str, NDArray[Any]]


def switched(text: str, faults: Iterable[Fault]) -> str:
    """Return the Verilog `text` of an accelerator NAME with faults that can be switched on.

    The argument +fault=N of the simulator switches on the one of number N, from 1. A fragment of
    such a fault is one expression with what is around it: "y = EXPRESSION;", "if (EXPRESSION)" or
    ".port(EXPRESSION)". In it "{kept.ones}" stands for the bits of the signal that have this name.

    Raises
    ------
    FaultMisplaced
        If a fragment is not of this kind, is not there, or overlaps that of another fault.
    """
    wrongs: dict[tuple[int, int], list[tuple[int, str]]] = {}
    for number, fault in enumerate(faults, start=1):
        for start, end, new in edits(text, _with_bits(text, fault)):
            right, wrong = _EXPRESSION.fullmatch(text[start:end]), _EXPRESSION.fullmatch(new)
            if right is None or wrong is None or right.group(1, 3) != wrong.group(1, 3):
                raise FaultMisplaced(f"{fault.name}: {new!r} is not {text[start:end]!r} changed")
            place = start + right.start(2), start + right.end(2)
            wrongs.setdefault(place, []).append((number, wrong[2]))
    changed, behind = [], 0
    for (start, end), choices in sorted(wrongs.items()):
        if start < behind:
            raise FaultMisplaced(f"fault {choices[0][0]} overlaps another one")
        expression = text[start:end]
        for number, other in choices:
            expression = f"(bench.dut.fault == {number} ? ({other}) : ({expression}))"
        changed += [text[behind:start], expression]
        behind = end
    everything = "".join(changed) + text[behind:]
    begin, body = module_body(everything, "")
    header = begin + body.index(";") + 1
    return everything[:header] + _SWITCH + everything[header:]


def _with_bits(text: str, fault: Fault) -> Fault:
    """Return a fault whose fragments have bits where they had names of fields."""
    _, body = module_body(text, fault.module)

    def bits(name: re.Match[str]) -> str:
        found = re.search(rf"assign \\?{re.escape(name[1])} +=([^;]*);", body)
        if found is None:
            raise FaultMisplaced(f"{fault.name}: there is no {name[1]}")
        return found[1].strip()

    right, wrong, given = (
        _FIELD.sub(bits, part) for part in (fault.right, fault.wrong, fault.given)
    )
    return replace(fault, right=right, wrong=wrong, given=given)


def run_accelerator_mutations(
    gateware: AcceleratorGateware, networks: Sequence[Network], simulator: str
) -> list[dict[str, Any]]:
    """Run networks on an accelerator with each of FAULTS; rows as of `hwq.sim.mutation`.

    Parameters
    ----------
    gateware : AcceleratorGateware
        Whose Verilog has the fragments.
    networks : sequence of Network
        Are run in this order until one shows the fault.
    simulator : str
        From `hwq.sim.tools.find_simulator`.
    """
    text = switched(emit_whole(gateware, NAME), FAULTS).replace(NAME, "accelerator")
    memories = [_memories(gateware, network) for network in networks]
    depths = [memory.depths() for memory in memories]
    most = {name: max(depth[name] for depth in depths) for name in depths[0]}
    folder = build(gateware, simulator, most, text=text)
    benches = [
        _Bench(folder, network, memory) for network, memory in zip(networks, memories, strict=True)
    ]
    rows = []
    for number, fault in enumerate(FAULTS, start=1):
        failures = ((bench.network.name, bench.failure(number)) for bench in benches)
        case, message = next((row for row in failures if row[1]), ("", ""))
        rows.append(
            {
                "unit": fault.module or "accelerator",
                "case": case,
                "fault": fault.name,
                "equivalent": fault.equivalent,
                "caught": bool(message) != bool(fault.equivalent),
                "message": message or fault.equivalent,
            }
        )
    return rows


def _memories(gateware: AcceleratorGateware, network: Network) -> Memories:
    plan, program = network.plan, network.program
    commands = records(gateware, plan, program)
    return Memories.of(plan, program, network.machine, commands, network.pixels)


class _Bench:
    """Runs a network, and says what is wrong with it."""

    def __init__(self, folder: Path, network: Network, memories: Memories) -> None:
        self.network, self._folder, self._memories = network, folder, memories
        self._timer, self._dram = Timer(network.machine, "rtl"), dram_of(network.machine)
        self._right = run(folder, memories, self._dram, 10**7)
        failure = self._judged(self._right)
        if failure:
            raise HwqError(f"{network.name} without a fault: {failure}")

    def failure(self, fault: int) -> str:
        """Return what is seen of a fault, or nothing."""
        right = self._right
        limit = int(right.begins[-1]) + _LONGER
        try:
            trace = run(self._folder, self._memories, self._dram, limit, fault=fault)
        except RunFailed as failed:
            return str(failed)
        if len(trace.begins) != len(right.begins):
            return f"there must be {len(right.begins) - 1} slots, not {len(trace.begins) - 1}"
        logs = trace.log == right.log and trace.tables == right.tables
        same = logs and trace.dram.content == right.dram.content
        if same and np.array_equal(trace.begins, right.begins):
            return ""
        return self._judged(trace)

    def _judged(self, trace: Trace) -> str:
        network = self.network
        plan, program, values = network.plan, network.program, network.values
        result = compare(plan, program, network.pixels, trace, self._timer, values)
        if result.difference is not None:
            return str(result.difference)
        if not result.results_equal:
            return "results differ"
        return "" if result.passed else f"{result.counted} cycles, not {result.planned}"
