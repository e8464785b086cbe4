"""How soon a calibrated file gives its first logits, in a new process, without torch.

python benchmarks/bench_start.py --checkpoint F [--runs 5]
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from hwq import api
network = api.open_integers(Path(sys.argv[1]))
network.logits(np.zeros((1, *network.graph.inputs[0].shape[1:]), np.uint8))
assert not {"torch", "timm"} & set(sys.modules) or len(sys.argv) > 2
"""


def seconds(*arguments: str) -> float:
    """Run the script in a process of its own."""
    begin = perf_counter()
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True)
    return perf_counter() - begin


def main() -> None:
    """Print the seconds of the runs behind the first one, which lowers and compiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    file = str(given.checkpoint)
    seconds(file, "torch may be there")
    runs = [seconds(file) for _ in range(given.runs)]
    print(f"first logits: median {median(runs):.2f} s, {min(runs):.2f} to {max(runs):.2f} s")


if __name__ == "__main__":
    main()
