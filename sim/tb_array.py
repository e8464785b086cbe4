"""The bench of arrays; runs inside the simulator, which `hwq.sim.array.run_arrays` starts.

For each program of a file it fills the operand memories, starts the array, waits until it is no
longer busy, reads the results and compares them, and likewise those that left as a stream. The
simulator's own time says how many cycles went by, and the array's counter must say the same.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout
from cocotb.utils import get_sim_time

JOBS = json.loads(Path(os.environ["HWQ_SIM_JOBS"]).read_text())
OUTCOMES = Path(os.environ["HWQ_SIM_OUTCOMES"])
PERIOD_NS = 10
LIMIT_CYCLES = 20_000


class Failure(Exception):
    """What was wrong with a program."""


class Bench:
    """One array of the bank.

    Parameters
    ----------
    dut : handle
        The bank.
    name : str
        Name of the array.
    """

    def __init__(self, dut: Any, name: str) -> None:
        self._dut, self._name = dut, name
        self._clock = Clock(self._port("_clk"), PERIOD_NS, unit="ns")
        self._edge = RisingEdge(self._port("_clk"))
        self._left: list[tuple[int, int]] = []

    def _port(self, name: str) -> Any:
        return getattr(self._dut, f"{self._name}{name}")

    async def products(self, programs: Sequence[dict[str, Any]], cycles: list[int]) -> None:
        """Run programs one after another, and append the cycles of each."""
        self._clock.start()
        watch = cocotb.start_soon(self._watch())
        try:
            await self.reset()
            for entry in programs:
                for side, base in zip("ab", entry["bases"], strict=False):
                    await self.write(side, base, entry[side])
                self._left.clear()
                cycles.append(await self.run(entry["program"]))
                await self.check(entry["bases"][-1], entry["wanted"])
        except Exception as error:
            m, k, n = entry["shape"]
            raise Failure(f"M = {m}, K = {k}, N = {n}: {type(error).__name__}: {error}") from error
        finally:
            watch.cancel()
            self._clock.stop()

    async def _watch(self) -> None:
        """Keep what leaves the array, at the edges at which another unit would take it."""
        valid, address, sums = (self._port(f"__o__{name}") for name in ("valid", "address", "sums"))
        while True:
            await self._edge
            if int(valid.value):
                self._left.append((int(address.value), int(sums.value)))

    async def reset(self) -> None:
        """Leave everything idle."""
        self._port("__start").value = 0
        for side in "ab":
            self._port(f"__{side}_write__enable").value = 0
        self._port("_rst").value = 1
        for _ in range(2):
            await self._edge
        self._port("_rst").value = 0
        await self._edge

    async def write(self, side: str, base: int, words: Sequence[int]) -> None:
        """Write the words of one operand, one a cycle."""
        address, data, enable = (
            self._port(f"__{side}_write__{signal}") for signal in ("address", "data", "enable")
        )
        enable.value = 1
        for place, word in enumerate(words, base):
            address.value = place
            data.value = word
            await self._edge
        enable.value = 0

    async def run(self, program: int) -> int:
        """Start a program; return the cycles from there to its end."""
        start = self._port("__start")
        self._port("__product").value = program
        start.value = 1
        begin = get_sim_time("ns")
        await self._edge
        # a start while the array is busy must not matter
        self._port("__product").value = 0
        await self._edge
        start.value = 0
        await with_timeout(FallingEdge(self._port("__busy")), LIMIT_CYCLES * PERIOD_NS, "ns")
        cycles, rest = divmod(get_sim_time("ns") - begin, PERIOD_NS)
        assert rest == 0
        await self._edge
        counted = int(self._port("__cycles").value)
        assert counted == cycles, f"the counter is {counted}, {cycles} cycles went by"
        return int(cycles)

    async def check(self, base: int, wanted: Sequence[int]) -> None:
        """Compare the words of results, and those that left the array, in any order."""
        address, data = self._port("__read_address"), self._port("__read_data")
        # a word is there two edges after its address: one takes the address, one sees the word
        for number in range(len(wanted) + 2):
            if number >= 2:
                got = int(data.value)
                want = wanted[number - 2]
                assert got == want, f"word {number - 2} is {got:#x}, not {want:#x}"
            address.value = base + number if number < len(wanted) else 0
            await self._edge
        left = sorted(self._left)
        assert left == list(enumerate(wanted, base)), "what left the array is not what it holds"


@cocotb.test()
async def products(dut: Any) -> None:
    """Run every job; what came of it is a failure or the cycles of all its programs."""
    outcomes: list[dict[str, Any]] = []
    for job in JOBS:
        cycles: list[int] = []
        failure = None
        try:
            await Bench(dut, job["name"]).products(job["programs"], cycles)
        except Failure as error:
            failure = str(error)
        outcomes.append({"cycles": cycles, "failure": failure})
    OUTCOMES.write_text(json.dumps(outcomes))
