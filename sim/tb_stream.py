"""The bench of every stream unit; runs inside the simulator, which `runner.Build.run` starts.

It drives the payloads of a file into one unit of the bank and compares what leaves it with the
file's: once at full rate, where the cycles must equal the unit's formulas, and once with random
stalls on both sides.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from numpy.typing import NDArray

UNIT = os.environ["HWQ_SIM_UNIT"]
VECTORS = json.loads(Path(os.environ["HWQ_SIM_VECTORS"]).read_text())
INPUTS, WANTED = VECTORS["inputs"], VECTORS["wanted"]
MEASURED = Path(os.environ["HWQ_SIM_MEASURED"])
RESULTS = len(WANTED) // VECTORS["outputs_per_result"]
STALLED_RESULTS = 65536 if VECTORS["inputs_per_result"] == 1 else 20000
STALL_PATTERN = 100003
IDLE_LIMIT = 1000 + 20 * (VECTORS["latency_cycles"] + VECTORS["interval_cycles"])


class Streams:
    """Both streams of one unit: every cycle, sample what was transferred, then drive anew.

    Parameters
    ----------
    dut : handle
        The bank.
    """

    def __init__(self, dut: Any) -> None:
        self.clk, self.rst = (getattr(dut, f"{UNIT}_{name}") for name in ("clk", "rst"))
        self.i_payload, self.i_valid, self.i_ready, self.o_payload, self.o_valid, self.o_ready = (
            getattr(dut, f"{UNIT}_{side}_{signal}")
            for side in "io"
            for signal in ("payload", "valid", "ready")
        )
        self.input_cycles: list[int] = []
        self.output_cycles: list[int] = []

    async def reset(self) -> None:
        """Start the clock and leave both sides idle."""
        cocotb.start_soon(Clock(self.clk, 10, unit="ns").start())
        self.rst.value = 1
        self.i_valid.value = self.i_payload.value = self.o_ready.value = 0
        for _ in range(2):
            await RisingEdge(self.clk)
        self.rst.value = 0
        await RisingEdge(self.clk)

    async def transfer(
        self, inputs: list[int], count: int, go: NDArray[np.bool_], accept: NDArray[np.bool_]
    ) -> None:
        """Send `inputs` and collect `count` outputs; `go` and `accept` repeat."""
        edge, patterns = RisingEdge(self.clk), len(go)
        goes, accepts = go.tolist(), accept.tolist()
        offered = accepting = False
        cycle = idle_since = 0
        while len(self.output_cycles) < count:
            await edge
            # signals still have the values that the registers see at this edge
            if accepting and self.o_valid.value:
                self.check(int(self.o_payload.value))
                self.output_cycles.append(cycle)
                idle_since = cycle
            if offered and self.i_ready.value:
                self.input_cycles.append(cycle)
                offered, idle_since = False, cycle
            if not offered and len(self.input_cycles) < len(inputs) and goes[cycle % patterns]:
                self.i_payload.value = inputs[len(self.input_cycles)]
                offered = True
            self.i_valid.value = offered
            accepting = accepts[cycle % patterns]
            self.o_ready.value = accepting
            cycle += 1
            assert cycle - idle_since < IDLE_LIMIT, (
                f"no progress after {len(self.input_cycles)} inputs, "
                f"{len(self.output_cycles)} outputs"
            )

    def check(self, got: int) -> None:
        """Compare the next output with what was wanted; the first that differs ends the run."""
        output = len(self.output_cycles)
        if got != WANTED[output]:
            result, n = output // VECTORS["outputs_per_result"], VECTORS["inputs_per_result"]
            inputs = INPUTS[result * n : (result + 1) * n]
            raise AssertionError(
                f"output {output} of {len(WANTED)} differs: input "
                f"{inputs if n > 1 else inputs[0]}, got {got}, want {WANTED[output]}"
            )

    def cycles(self) -> tuple[int, int, int]:
        """Return the latency, and the least and greatest interval over the later half."""
        outputs = VECTORS["outputs_per_result"]
        latency = self.output_cycles[outputs - 1]
        latency -= self.input_cycles[VECTORS["inputs_per_result"] - 1]
        ends = np.array(self.output_cycles[outputs - 1 :: outputs])
        intervals = np.diff(ends[ends.size // 2 :])
        return latency, int(intervals.min()), int(intervals.max())


async def run(dut: Any, results: int, go: NDArray[np.bool_], accept: NDArray[np.bool_]) -> Streams:
    """Reset, run the vectors of the first `results` results, and compare."""
    streams = Streams(dut)
    await streams.reset()
    inputs = INPUTS[: results * VECTORS["inputs_per_result"]]
    await streams.transfer(inputs, results * VECTORS["outputs_per_result"], go, accept)
    return streams


def record(**figures: int) -> None:
    """Add figures to the file that the runner reads."""
    known = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    MEASURED.write_text(json.dumps({**known, **figures}))


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """No stalls: values, latency and interval."""
    always = np.ones(1, np.bool_)
    streams = await run(dut, RESULTS, always, always)
    latency, least, most = streams.cycles()
    record(outputs=len(streams.output_cycles), latency_cycles=latency, interval_cycles=least)
    record(full_rate_cycles=streams.output_cycles[-1] + 1)
    want = VECTORS["latency_cycles"]
    assert latency == want, f"latency is {latency} cycles, want {want}"
    want = VECTORS["interval_cycles"]
    assert least == most == want, f"interval is {least}..{most} cycles, want {want}"


@cocotb.test()
async def random_stalls(dut: Any) -> None:
    """Both sides stall at random: values only."""
    seed = cocotb.RANDOM_SEED
    dut._log.info("stalls from seed %s", seed)
    rng = np.random.default_rng(seed)
    go, accept = rng.random(STALL_PATTERN) < 0.8, rng.random(STALL_PATTERN) < 0.7
    streams = await run(dut, min(RESULTS, STALLED_RESULTS), go, accept)
    record(stalled_cycles=streams.output_cycles[-1] + 1)
