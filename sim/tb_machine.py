"""The bench of machines; runs inside the simulator, which `hwq.sim.machine.run_programs` starts.

For each job of a file it fills the memories of a machine, starts its program, and records what
leaves the array and what every command stores; what that should be is compared outside.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

JOBS = json.loads(Path(os.environ["HWQ_SIM_JOBS"]).read_text())
OUTCOMES = Path(os.environ["HWQ_SIM_OUTCOMES"])
WRITES = ("a_write", "b_write", "vector_write", "parameter_write", "command_write")

# a start while the machine is busy must not matter
START_CYCLES = 4


class Failure(Exception):
    """What was wrong with a program."""


class Bench:
    """One machine of the bank.

    Parameters
    ----------
    dut : handle
        The bank.
    job : mapping
        From the file of jobs.
    """

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self._dut, self._job = dut, job
        self._edge = RisingEdge(self._port("_clk"))

    def _port(self, name: str) -> Any:
        return getattr(self._dut, f"{self._job['name']}{name}")

    async def run(self) -> dict[str, Any]:
        """Write, and run as often as the job says."""
        clock = Clock(self._port("_clk"), 10, unit="ns")
        clock.start()
        try:
            await self.write()
            outcome = await self.run_once()
            for _ in range(1, self._job["runs"]):
                if await self.run_once() != outcome:
                    raise Failure("another run of the program does something else")
            return outcome
        finally:
            clock.stop()

    async def run_once(self) -> dict[str, Any]:
        """Start and watch."""
        start = self._port("__start")
        start.value = 1
        commands = await self.watch(start)
        for _ in range(3):
            await self._edge
            if self._port("__busy").value or self._port("__written__valid").value:
                raise Failure("the machine goes on behind its last command")
        return {"commands": commands, "cycles": int(self._port("__cycles").value)}

    async def write(self) -> None:
        """Reset, then fill the memories."""
        self._port("_rst").value = 1
        self._port("__start").value = 0
        for write in WRITES:
            self._port(f"__{write}__enable").value = 0
        await self._edge
        await self._edge
        self._port("_rst").value = 0
        for write in WRITES:
            address, word, enable = (
                self._port(f"__{write}__{name}") for name in ("address", "data", "enable")
            )
            enable.value = 1
            for place, value in self._job[write]:
                address.value, word.value = place, value
                await self._edge
            enable.value = 0

    async def watch(self, start: Any) -> list[dict[str, Any]]:
        """Return cycles, sums and written words of every command."""
        stored = [self._port(f"__written__{n}") for n in ("to_operand", "address", "data")]
        left = [self._port(f"__sums__{name}") for name in ("address", "sums")]
        writes, leaves, done = (
            self._port(f"__{name}") for name in ("written__valid", "sums__valid", "done")
        )
        commands: list[dict[str, Any]] = []
        written: list[list[int]] = []
        sums: list[list[int]] = []
        for cycle in range(self._job["limit"]):
            await self._edge
            if cycle == START_CYCLES:
                start.value = 0
            if leaves.value:
                sums.append([int(field.value) for field in left])
            if writes.value:
                written.append([int(field.value) for field in stored])
            if done.value:
                cycles = int(self._port("__command_cycles").value)
                commands.append({"cycles": cycles, "written": written, "sums": sums})
                written, sums = [], []
                if len(commands) == self._job["commands"]:
                    return commands
        raise Failure(f"no end after {self._job['limit']} cycles, in command {len(commands)}")


@cocotb.test()
async def programs(dut: Any) -> None:
    """Run every job; what came of it is a failure, or its cycles and commands."""
    outcomes: list[dict[str, Any]] = []
    for job in JOBS:
        try:
            outcomes.append(await Bench(dut, job).run())
        except Failure as failure:
            outcomes.append({"failure": str(failure)})
    OUTCOMES.write_text(json.dumps(outcomes))
