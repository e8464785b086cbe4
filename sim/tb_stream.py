"""The bench of stream units; runs inside the simulator, which `hwq.sim.runner.run_jobs` starts.

For each job of a file it has the driver beside the unit (stream_driver.v) send payloads, under
one pattern of stalls after the other, and compares what left the unit with the file's values: at
full rate, where the cycles must equal the unit's formulas as well, after a reset of a full unit
and of one in the middle of a result, with random stalls and with adversarial ones.
"""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from hwq.sim.patterns import (
    AFTER_PART,
    AFTER_RESET,
    FULL_RATE,
    PATTERNS,
    Cost,
    Pattern,
    Stalls,
    results,
)

JOBS = json.loads(Path(os.environ["HWQ_SIM_JOBS"]).read_text())
OUTCOMES = Path(os.environ["HWQ_SIM_OUTCOMES"])
SEED = int(os.environ["HWQ_SIM_SEED"])
FAULTS = {
    1: "the payload of o changed before its transfer",
    2: "o.valid dropped before its transfer",
    3: "there is an output after the last one",
    4: "there is no progress",
    5: "valid, ready or a valid payload is unknown",
}


class Failure(Exception):
    """What a bench found; `result` is the first wrong one, if it was a value."""

    def __init__(self, message: str, result: int | None = None) -> None:
        super().__init__(message)
        self.result = result


class Job:
    """One unit with its vectors.

    Parameters
    ----------
    dut : handle
        The bank.
    entry : mapping
        From the file of jobs.
    """

    def __init__(self, dut: Any, entry: dict[str, Any]) -> None:
        self.clk, self.rst, self.done = (
            getattr(dut, f"{entry['name']}_{signal}") for signal in ("clk", "rst", "done")
        )
        self.inputs, self.wanted = entry["inputs"], entry["wanted"]
        self.cost = Cost(**entry["cost"])
        self.patterns = [PATTERNS[name] for name in entry["patterns"]]
        self.budget = entry["budget"]
        self.figures: dict[str, int] = {}

    async def run(self) -> None:
        """Run all benches; the first that fails ends the job."""
        Path("inputs.hex").write_text(self.inputs)
        clock = Clock(self.clk, 10, unit="ns")
        clock.start()
        try:
            for pattern in self.patterns:
                try:
                    await self.bench(pattern)
                except Failure as failure:
                    message = f"{pattern.name}, seed {SEED}: {failure}"
                    raise Failure(message, failure.result) from None
        finally:
            clock.stop()

    async def reset(self, stalls: Stalls, inputs: int, outputs: int) -> None:
        """Write the settings and make the driver read them."""
        cost = self.cost
        longest = max(stalls.send_on + stalls.send_off, stalls.take_on + stalls.take_off)
        patience = 20 * (cost.latency + cost.interval + longest + stalls.send_period)
        numbers = [inputs, outputs, cost.inputs, *stalls.numbers()]
        numbers += [1000 + patience + stalls.take_full, cost.latency + cost.interval + 8]
        # xorshift must not start at zero
        numbers.append((SEED * 2654435761 + 1) % 0x7FFFFFFF + 1)
        Path("settings.txt").write_text(" ".join(map(str, numbers)) + "\n")
        self.rst.value = 1
        # the bank takes it at the falling edge; one cycle, so that every register is reset at once
        await FallingEdge(self.clk)
        await RisingEdge(self.clk)
        self.rst.value = 0

    async def disturb(self, stalls: Stalls, inputs: int, outputs: int) -> None:
        """Send for longer than a result takes, and leave what comes of it."""
        await self.reset(stalls, inputs, outputs)
        await ClockCycles(self.clk, self.cost.latency + self.cost.interval * 3 // 2 + 5)

    async def bench(self, pattern: Pattern) -> None:
        """Run one pattern and compare values, rules of the stream and, at full rate, cycles."""
        available = self.wanted.count("\n") // self.cost.outputs
        count = results(pattern, self.cost, available, self.budget)
        inputs, outputs = count * self.cost.inputs, count * self.cost.outputs
        stalls = pattern.stalls(self.cost)
        # where a unit is full, its counters may all be back at zero: hence both
        if pattern is AFTER_RESET:
            await self.disturb(Stalls(take_full=1 << 30), inputs, outputs)
        if pattern is AFTER_PART:
            await self.disturb(Stalls(), max(self.cost.inputs // 2, 1), outputs)
        await self.reset(stalls, inputs, outputs)
        await RisingEdge(self.done)
        values = Path("outputs.hex").read_text()
        fault, cycles, sent, taken, first, stalled = map(
            int, Path("summary.txt").read_text().split()
        )
        self.compare(values)
        if fault:
            raise Failure(f"{FAULTS[fault]}, after {sent} inputs and {taken} outputs")
        self.figures[f"{pattern.name}_cycles"] = cycles
        self.figures[f"{pattern.name}_outputs"] = taken
        if pattern is FULL_RATE:
            self.figures["outputs"] = taken
            self.figures["distinct_outputs"] = len(set(values.split()))
            self.check_cycles([*map(int, Path("cycles.txt").read_text().split())], first)
        else:
            self.figures["stalled_cycles"] = self.figures.get("stalled_cycles", 0) + stalled

    def compare(self, values: str) -> None:
        """Compare with what was wanted; name the first that differs."""
        if self.wanted.startswith(values):
            return
        got, wanted, inputs = (text.split() for text in (values, self.wanted, self.inputs))
        number = next(n for n, value in enumerate(got) if value != wanted[n])
        result, n = number // self.cost.outputs, self.cost.inputs
        first = [int(value, 16) for value in inputs[result * n : (result + 1) * n][:8]]
        shown = f"{first}{'...' if n > 8 else ''}" if n > 1 else first[0]
        known = not set(got[number].lower()) & set("xz")
        raise Failure(
            f"output {number} of {len(wanted)} differs: input {shown}, "
            f"got {int(got[number], 16) if known else got[number]}, want {int(wanted[number], 16)}",
            result,
        )

    def check_cycles(self, cycles: list[int], first: int) -> None:
        """Hold latency and interval equal to the unit's formulas."""
        cost = self.cost
        latency = cycles[cost.outputs - 1] - first
        ends = cycles[cost.outputs - 1 :: cost.outputs]
        half = ends[len(ends) // 2 :]
        intervals = {after - before for before, after in pairwise(half)}
        self.figures |= {"latency_cycles": latency, "interval_cycles": max(intervals, default=0)}
        if latency != cost.latency:
            raise Failure(f"latency is {latency} cycles, want {cost.latency}")
        if intervals and intervals != {cost.interval}:
            raise Failure(f"intervals are {sorted(intervals)[:4]} cycles, want {cost.interval}")


@cocotb.test()
async def stream(dut: Any) -> None:
    """Run every job; what came of each is written as soon as it is known."""
    outcomes: list[dict[str, Any]] = []
    for entry in JOBS:
        job, failure, result = Job(dut, entry), None, None
        try:
            await job.run()
        except Failure as error:
            failure, result = str(error), error.result
        outcomes.append({"figures": job.figures, "failure": failure, "result": result})
        OUTCOMES.write_text(json.dumps(outcomes))
    failed = [outcome["failure"] for outcome in outcomes if outcome["failure"]]
    assert not failed, failed[0]
