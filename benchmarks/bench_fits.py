"""How long every method takes to fit DeiT-Tiny: medians of several runs, in one process each.

    python benchmarks/bench_fits.py --weights FILE --calib DIR [--methods minmax,repq_vit] \
        [--bits w4a4] [--runs 3] [--option METHOD.NAME=VALUE]

A run is `hwq calibrate`'s fit alone: no start of Python, no reading of images. What it returns is
verified, lowered to integers and executed on an image.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from hwq.api.evaluation import make_entries
from hwq.api.network import open_network
from hwq.api.simulation import lower
from hwq.cli.arguments import names, options
from hwq.cli.memory import keep_freed_memory
from hwq.graph.verify import verify
from hwq.methods.calibration import Calibration
from hwq.models.images import open_images
from hwq.runtime.integer_executor import IntegerExecutor


def main() -> None:
    """Fit, check, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--methods", type=names, default=["minmax", "repq_vit"])
    parser.add_argument("--bits", type=names, default=["w4a4"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--option", action="append", default=[])
    given = parser.parse_args()
    keep_freed_memory()
    network = open_network("deit_t", given.weights, False, 0)
    folder = open_images(given.calib, network.preprocessing, labelled=False)
    for entry in make_entries(given.methods, given.bits, options(given.option)):
        images = Calibration(folder.sample(entry.method.images, 0).load())
        seconds = []
        for _ in range(given.runs):
            start = time.perf_counter()
            fitted = entry.method.fit(network.graph, images, entry.bits)
            seconds.append(time.perf_counter() - start)
            verify(fitted.graph)
            integer = IntegerExecutor(lower(fitted))
            logits = integer.run(images.pixels[0]).values[integer.graph.outputs[0]]
            assert np.issubdtype(logits.dtype, np.integer)
        print(f"{entry.stem}: {statistics.median(seconds):.1f} s, median of {given.runs}")


if __name__ == "__main__":
    main()
