"""A tiny Vision Transformer on its accelerator's gateware: every word, every cycle."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.arch.accelerator import Accelerator
from hwq.compiler.emit_program import emit_program
from hwq.compiler.program import Program
from hwq.plan.make_plan import make_plan
from hwq.plan.plan import Plan
from hwq.plan.timing import Timer
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.records import records
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.sim.accelerator import Dram, Memories, build, run
from hwq.sim.network import Comparison, compare
from tests.plan.machines import machine

MACHINES = {
    "4x4": machine(4, 4, (8, 2, 8, 2), rate=31, lanes=4),
    "8x8": machine(8, 8, (24, 4, 16, 4), rate=63, lanes=8),
    # all weights stay on chip, and are there before the first image
    "4x4, weights on chip": machine(4, 4, (8, 32, 8, 1), rate=31, lanes=4),
}
# bits per cycle, latency, whether beats wait at random
DRAMS = [(31, 0, False), (Fraction(77, 10), 3, False), (Fraction(3, 2), 40, False), (20, 9, True)]
METHODS = [
    *("minmax", "minmax/log2", "psaq_vit", "repq_vit", "ptq4vit", "is_vit"),
    *("adfq_vit", "scalepredictor"),
]


def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 32, 32)).astype(np.uint8)


@dataclass(frozen=True)
class Case:
    """A network in integers on a machine."""

    machine: Accelerator
    gateware: AcceleratorGateware
    program: Program
    plan: Plan
    values: dict[str, Any]

    @classmethod
    def of(cls, graph, accelerator: Accelerator) -> "Case":
        program = emit_program(graph)
        names = [node.name for node in graph.nodes]
        values = IntegerExecutor(graph).run(pixels(), names).values
        gateware = AcceleratorGateware(accelerator)
        return cls(accelerator, gateware, program, make_plan(program, accelerator), values)

    def run(self, simulator: str, rate: Fraction, latency: int, stalls: bool) -> Comparison:
        """Run it once; the plan is that of a DRAM without limit."""
        commands = records(self.gateware, self.plan, self.program)
        memories = Memories.of(self.plan, self.program, self.machine, commands, pixels())
        folder = build(self.gateware, simulator, memories.depths())
        dram = {"bandwidth_gib_s": float(rate) * 1e9 / 2**33, "latency_cycles": latency}
        slow = self.machine.model_copy(update={"dram": self.machine.dram.model_copy(update=dram)})
        timer = Timer(slow, "rtl")
        trace = run(folder, memories, Dram(timer.rate, latency, stalls), 5_000_000)
        return compare(self.plan, self.program, pixels(), trace, timer, self.values, not stalls)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "bits", "shape"),
    [
        *((method, "w8a8", "8x8") for method in METHODS),
        *((method, "w4a4", "4x4") for method in METHODS),
        ("minmax", "w8a8", "4x4, weights on chip"),
    ],
)
def test_a_network_is_equal_in_words_and_cycles(
    method, bits, shape, quantise, lower, simulator
) -> None:
    case = Case.of(lower(quantise(method, bits)), MACHINES[shape])
    resident = {home.memory for home in case.plan.homes} == {"dram", "weight"}
    assert resident == ("weights on chip" in shape)
    number = METHODS.index(method) + (bits == "w4a4")
    for rate, latency, stalls in (DRAMS[number % 4], DRAMS[(number + 1) % 4]):
        result = case.run(simulator, rate, latency, stalls)
        assert result.difference is None
        assert result.results_equal
        assert stalls or result.counted == result.planned
        assert result.passed
