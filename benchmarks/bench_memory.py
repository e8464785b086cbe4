"""How much keeping freed memory saves in a fake-quant network (hwq.cli.memory).

    python benchmarks/bench_memory.py

Runs DeiT-Tiny with seeded random weights, minmax w8a8, on batches of 16 images in two fresh
processes, one with and one without, alternating; prints the medians and their ratio.
"""

import statistics
import subprocess
import sys

BATCHES, ROUNDS = 4, 3
CHILD = """
import sys, time
import torch
from hwq.api.network import float_graph
from hwq.cli.memory import keep_freed_memory
from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from hwq.methods.calibration import Calibration
from hwq.models.catalog import create_network
from hwq.runtime.fake_quant_executor import FakeQuantExecutor

if sys.argv[1] == "keep":
    keep_freed_memory()
graph = float_graph(create_network("deit_t"))
noise = Calibration.noise((3, 224, 224), 16, seed=0)
quantised = METHODS["minmax"]().fit(graph, noise.head(2), Bits(8, 8)).graph
executor, (pixels,) = FakeQuantExecutor(quantised), noise.batches()
with torch.no_grad():
    first = executor(pixels)["head"]
    start = time.perf_counter()
    for _ in range(int(sys.argv[2])):
        assert torch.equal(executor(pixels)["head"], first)
    print(time.perf_counter() - start)
"""


def seconds(mode: str) -> float:
    """Run one process and return the time of its batches."""
    command = [sys.executable, "-c", CHILD, mode, str(BATCHES)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Alternate, and print medians."""
    times: dict[str, list[float]] = {"return": [], "keep": []}
    for _ in range(ROUNDS):
        for mode, found in times.items():
            found.append(seconds(mode))
    medians = {mode: statistics.median(found) for mode, found in times.items()}
    for mode, median in medians.items():
        print(f"{mode:>6} freed memory: {median:.2f} s for {BATCHES} x 16 images")
    print(f"ratio {medians['return'] / medians['keep']:.2f}")


if __name__ == "__main__":
    main()
