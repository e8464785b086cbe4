"""Where the time of an integer forward goes, step by step, one image, one thread.

python benchmarks/bench_steps.py [--model deit_s] [--bits w8a8]
"""

import argparse
from collections import defaultdict
from statistics import median
from time import perf_counter

from hwq.api import lower
from hwq.api.network import open_network
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.step import Step


def kind(step: Step) -> str:
    """What steps of all blocks have in common: "linear mlp.fc1" of blocks.3.mlp.fc1.acc."""
    nodes = getattr(step, "nodes", None)
    if nodes is None:
        return "single nodes"
    name = nodes[0].name.removesuffix(".acc").split(".")
    return f"{type(step).__name__} {'.'.join(part for part in name[2:] or name)}"


def main() -> None:
    """Print milliseconds by kind of step, the median of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="deit_s")
    parser.add_argument("--method", default="minmax")
    parser.add_argument("--bits", default="w8a8")
    parser.add_argument("--rounds", type=int, default=31)
    given = parser.parse_args()
    source = open_network(given.model)
    noise = Calibration.noise(source.preprocessing.input_size, 2, seed=0)
    quantized = METHODS[given.method]().fit(source.graph, noise, Bits.parse(given.bits))
    graph = lower(quantized)
    executor = IntegerExecutor(graph)
    steps, image = executor.steps(frozenset(graph.outputs)), noise.pixels[0]
    wanted = executor.run(image)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(given.rounds):
        values = {**executor.constants, graph.inputs[0].name: image[None]}
        saturations = dict.fromkeys(graph.by_name, 0)
        spent: dict[str, float] = defaultdict(float)
        start = perf_counter()
        for step in steps:
            begin = perf_counter()
            values[step.output] = step.run(values, saturations)
            spent[kind(step)] += perf_counter() - begin
        times["all"].append(perf_counter() - start)
        for name, seconds in spent.items():
            times[name].append(seconds)
        assert saturations == wanted.saturations
        assert (values[graph.outputs[0]] == wanted.values[graph.outputs[0]]).all()
    for name, seconds in sorted(times.items(), key=lambda item: -median(item[1])):
        print(f"{name:36} {1e3 * median(seconds):6.2f} ms")


if __name__ == "__main__":
    main()
