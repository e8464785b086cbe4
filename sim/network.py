"""A network on its accelerator's gateware against the integer network: every word, every cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.arch.accelerator import Accelerator
from hwq.compiler.program import Program
from hwq.plan.commands import home_addresses
from hwq.plan.plan import Plan
from hwq.plan.slots import Slot, unroll
from hwq.plan.timing import Timer
from hwq.sim.accelerator import Dram, Trace
from hwq.sim.checker import Checker, Difference

Int = NDArray[np.int64]


@dataclass(frozen=True)
class StepRun:
    """One step of a plan as it ran.

    Parameters
    ----------
    name : str
        Of its first layer.
    slots, planned, counted : int
        Slots; cycles as the cost model has them, and as the gateware took.
    elements : int
        That were written and compared.
    stalls : int
        Cycles in which nothing computed.
    """

    name: str
    slots: int
    planned: int
    counted: int
    elements: int
    stalls: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of a run.

    Parameters
    ----------
    steps : tuple of StepRun
    difference : Difference, optional
    results : mapping of str to array
        Results of the network, as the DRAM has them at the end.
    results_equal : bool
        Also if the run did not come so far.
    compares_cycles : bool
        Whether cycles count.
    """

    steps: tuple[StepRun, ...]
    difference: Difference | None
    results: Mapping[str, Int]
    results_equal: bool
    compares_cycles: bool

    @property
    def planned(self) -> int:
        """Cycles as the cost model has them."""
        return sum(step.planned for step in self.steps)

    @property
    def counted(self) -> int:
        """Cycles that the gateware took."""
        return sum(step.counted for step in self.steps)

    @property
    def passed(self) -> bool:
        """Whether every word and every cycle is as it must be."""
        cycles = all(step.planned == step.counted for step in self.steps)
        same = self.difference is None and self.results_equal
        return same and (cycles or not self.compares_cycles)


def compare(
    plan: Plan,
    program: Program,
    pixels: NDArray[np.uint8],
    trace: Trace,
    timer: Timer,
    values: Mapping[str, NDArray[Any]],
    cycles: bool = True,
) -> Comparison:
    """Compare a run of all slots, or of the first ones, with what the plan means.

    Parameters
    ----------
    plan, program : Plan, Program
    pixels : uint8[C, H, W]
    trace : Trace
    timer : Timer
        Of the accelerator and the bandwidth of the run.
    values : mapping of str to array
        Tensors of the integer network.
    cycles : bool
        Whether cycles are compared.
    """
    checker = Checker(plan, program, trace, values)
    results = checker.run(pixels)
    steps = _steps(plan, trace, timer, checker.elements)
    found = {
        home.tensor: trace.dram.read(home_addresses(home), home.bits, signed=True)
        for home in plan.homes
        if home.tensor in results
    }
    mask = {home.tensor: (1 << home.bits) - 1 for home in plan.homes}
    equal = all(
        np.array_equal(found[name] & mask[name], values[name].ravel().astype(np.int64) & mask[name])
        for name in results
    )
    whole = len(trace.begins) - 1 == sum(1 for _ in unroll(plan))
    return Comparison(tuple(steps), checker.difference, found, equal or not whole, cycles)


def _steps(
    plan: Plan, trace: Trace, timer: Timer, elements: Mapping[int, int]
) -> Sequence[StepRun]:
    """Sum slots up, step by step."""
    sums: dict[str, list[int]] = {}
    counted = np.diff(trace.begins).tolist()
    for number, (slot, took) in enumerate(zip(unroll(plan), counted, strict=False)):
        row = sums.setdefault(slot.owner.name, [0] * 5)
        planned, busy = timer.slot_cycles(slot), _computing(timer, slot)
        for index, value in enumerate(
            (1, planned, took, elements.get(number, 0), max(0, took - busy))
        ):
            row[index] += value
    return [StepRun(name, *row) for name, row in sums.items()]


def _computing(timer: Timer, slot: Slot) -> int:
    return 0 if slot.tile is None else timer.work(slot.tile).cycles


def dram_of(machine: Accelerator, stalls: bool = False) -> Dram:
    """Return the DRAM of a machine as its bench has it."""
    timer = Timer(machine, "rtl")
    return Dram(timer.rate, machine.dram.latency_cycles, stalls)
