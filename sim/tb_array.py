"""The bench of an array; runs inside the simulator, which `hwq.sim.array.run_array` starts.

For each program of a file it fills the operand memories, starts the array, waits until it is no
longer busy, reads the results and compares them. The simulator's own time says how many cycles went
by, and the array's counter must say the same.
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

NAME = os.environ["HWQ_SIM_ARRAY"]
JOBS = json.loads(Path(os.environ["HWQ_SIM_JOBS"]).read_text())
OUTCOME = Path(os.environ["HWQ_SIM_OUTCOME"])
PERIOD_NS = 10
LIMIT_CYCLES = 100_000


class Bench:
    """One array of the bank.

    Parameters
    ----------
    dut : handle
        The bank.
    """

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        self._edge = RisingEdge(self._port("_clk"))

    def _port(self, name: str) -> Any:
        return getattr(self._dut, f"{NAME}{name}")

    async def reset(self) -> None:
        """Start the clock and leave everything idle."""
        self._port("__start").value = 0
        for side in "ab":
            self._port(f"__{side}_write__enable").value = 0
        self._port("_rst").value = 1
        Clock(self._port("_clk"), PERIOD_NS, unit="ns").start()
        for _ in range(2):
            await self._edge
        self._port("_rst").value = 0
        await self._edge

    async def write(self, side: str, words: Sequence[int]) -> None:
        """Write the words of one operand, one a cycle."""
        address, data, enable = (
            self._port(f"__{side}_write__{signal}") for signal in ("address", "data", "enable")
        )
        enable.value = 1
        for number, word in enumerate(words):
            address.value = number
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
        start.value = 0
        await with_timeout(FallingEdge(self._port("__busy")), LIMIT_CYCLES * PERIOD_NS, "ns")
        cycles, rest = divmod(get_sim_time("ns") - begin, PERIOD_NS)
        assert rest == 0
        await self._edge
        counted = int(self._port("__cycles").value)
        assert counted == cycles, f"the counter is {counted}, {cycles} cycles went by"
        return int(cycles)

    async def check(self, wanted: Sequence[int]) -> None:
        """Compare the words of results."""
        address, data = self._port("__read_address"), self._port("__read_data")
        # a word is there two edges after its address: one takes the address, one sees the word
        for number in range(len(wanted) + 2):
            if number >= 2:
                got = int(data.value)
                want = wanted[number - 2]
                assert got == want, f"word {number - 2} is {got:#x}, not {want:#x}"
            address.value = number if number < len(wanted) else 0
            await self._edge


@cocotb.test()
async def products(dut: Any) -> None:
    """Run every program of the file."""
    bench = Bench(dut)
    await bench.reset()
    cycles: list[int] = []
    failure = None
    for job in JOBS:
        try:
            await bench.write("a", job["a"])
            await bench.write("b", job["b"])
            cycles.append(await bench.run(job["program"]))
            await bench.check(job["wanted"])
        except Exception as error:
            m, k, n = job["shape"]
            failure = f"M = {m}, K = {k}, N = {n}: {type(error).__name__}: {error}"
            break
    OUTCOME.write_text(json.dumps({"cycles": cycles, "failure": failure}))
