"""Time of a whole forward, in integers and as others run the network, one thread.

    python benchmarks/bench_forward.py [--model deit_s] [--out DIR]

Weights are seeded random, and the quantizers are fitted to a few noise images: neither changes the
time. Before anything is timed, fused steps are compared with every node run by itself: all logits
and all saturations. All columns take turns in one process; a figure is the median.

As for a processor with AVX2 only, forced on one with more:

    export NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt
    export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
from growth import growth
from peak import peak_gops
from rivals import fp32, onnxruntime, torch_ao

from hwq.api import lower
from hwq.api.network import float_graph, make_method
from hwq.graph.ir import Graph
from hwq.methods.base import Bits, Quantized
from hwq.methods.calibration import Calibration
from hwq.models.catalog import create_network
from hwq.numerics._product import multiply_rows
from hwq.numerics.gemm import best_rung, pack
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.image_executor import ImageExecutor
from hwq.runtime.integer_executor import INTEGER_OPS, IntegerExecutor

Pixels = Any
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "minmax": ("minmax", {}),
    "repq_vit": ("repq_vit", {}),
    "ptq4vit": ("ptq4vit", {"rounds": 1, "candidates": 8, "images": 2}),
    "is_vit": ("is_vit", {"iterations": 2, "images": 4, "batch": 2}),
    "adfq_vit": ("adfq_vit", {"iterations": 2, "images": 4, "batch": 2}),
    "scalepredictor@repq_vit": ("scalepredictor", {"base": "repq_vit"}),
}
"""Label -> method and options: as little fitting as gives its datapath."""


def fit(graph: Graph, noise: Calibration, label: str, bits: str) -> Quantized:
    name, options = METHODS[label]
    given = dict(options)
    method = make_method(name, given.pop("base", None), given)
    return method.fit(graph, noise, Bits.parse(bits))


def check(graph: Graph, executor: IntegerExecutor, pixels: Pixels) -> None:
    """Fused steps give what every node by itself gives, for every image."""
    plain, output = ImageExecutor(graph, INTEGER_OPS), graph.outputs[0]
    for image, run in zip(pixels, executor.run_batch(pixels), strict=True):
        wanted = plain.run(image)
        assert np.array_equal(run.values[output], wanted.values[output])
        assert run.saturations == wanted.saturations


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of every call, the median of rounds in which all take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = perf_counter()
            call()
            times[name].append(perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def one_by_one(executor: IntegerExecutor, pixels: Pixels) -> Callable[[], object]:
    return lambda: executor.run_batch(pixels, threads=1)


def forwards(model: str, bits: list[str], methods: list[str], rounds: int) -> dict[str, Any]:
    """Milliseconds an image of every contestant, at batches of 1 and 8."""
    network = create_network(model, pretrained=False, seed=0)
    graph, module = float_graph(network), network.module.eval()
    noise = Calibration.noise(network.preprocessing.input_size, 8, seed=0)
    pixels = noise.pixels
    rivals = {"torch fp32": fp32(module), "torch.ao dynamic int8": torch_ao(module)}
    try:
        rivals["onnxruntime static int8"] = onnxruntime(module, pixels[:4])
    except ImportError as error:
        print(f"onnxruntime is left out: {error}", file=sys.stderr)
    executors, fakes = {}, {}
    for label in methods:
        for width in bits:
            quantized = fit(graph, noise.head(4), label, width)
            integer, name = lower(quantized), f"{label} {width}"
            executors[name] = IntegerExecutor(integer)
            check(integer, executors[name], pixels[:2])
            fakes[name] = FakeQuantExecutor(quantized.graph)
            print(f"{name}: equal", file=sys.stderr, flush=True)
    table: dict[str, Any] = {}
    for batch in (1, 8):
        images = pixels[:batch]
        calls = {name: partial(run, images) for name, run in rivals.items()}
        for name, executor in executors.items():
            calls[name] = one_by_one(executor, images)
            if name in ("minmax w8a8", "repq_vit w8a8"):
                reals = torch.from_numpy(images).float()
                calls[f"fake-quant {name}"] = partial(_fake, fakes[name], reals)
        seconds = interleaved(calls, rounds)
        table[f"batch {batch}"] = {name: 1e3 * s / batch for name, s in seconds.items()}
    first = next(iter(executors.values()))
    many = [pixels[n % len(pixels)] for n in range(32)]
    pair = interleaved(
        {"one": one_by_one(first, many), "two": lambda: first.run_batch(many, threads=2)},
        max(rounds, 5),
    )
    table["two threads over images"] = pair["one"] / pair["two"]
    return table


def _fake(executor: FakeQuantExecutor, pixels: torch.Tensor) -> object:
    with torch.no_grad():
        return executor(pixels)


def linear_layers(width: int, rounds: int) -> dict[str, Any]:
    """GOP/s of the four linear layers of a block, one image, beside the instruction's peak."""
    rung, rows = best_rung(), {}
    for bits in (8, 6, 4):
        top = (1 << bits) - 1
        for name, k, n in (
            ("qkv", width, 3 * width),
            ("proj", width, width),
            ("fc1", width, 4 * width),
            ("fc2", 4 * width, width),
        ):
            rng = np.random.default_rng(0)
            packed = pack(rng.integers(-1 << bits - 1, 1 << bits - 1, (k, n), np.int8))
            block, right = packed.block(0, top), packed.right(0, top)
            block[:] = rng.integers(0, top, block.shape, endpoint=True)
            acc = np.empty((48, right[1].size), np.int32)
            call = partial(multiply_rows, packed.rung.tag, block, 48, right, acc)
            seconds = interleaved({"product": call}, 50 * rounds)["product"]
            words = block.dtype == np.int16
            rate, peak = 2 * 48 * k * n / seconds / 1e9, peak_gops(rung, words)
            rows[f"{name} w{bits}a{bits}"] = {"gops": rate, "peak": peak, "share": rate / peak}
    return rows


def markdown(result: Mapping[str, Any]) -> str:
    """The tables that docs/performance.md quotes."""
    lines = [f"{result['processor']}, rung {result['rung']}, one thread, {result['model']}", ""]
    lines += ["| ms an image | batch 1 | | batch 8 | |", "|---|---|---|---|---|"]
    one, eight = (result["forward"][f"batch {batch}"] for batch in (1, 8))
    for name in one:
        ratios = [t["torch fp32"] / t[name] for t in (one, eight)]
        cells = f"{one[name]:.1f} | {ratios[0]:.2f}x | {eight[name]:.1f} | {ratios[1]:.2f}x"
        lines.append(f"| {name} | {cells} |")
    lines += ["", f"Two threads over images: {result['forward']['two threads over images']:.2f}x."]
    lines += ["", "| linear layer | GOP/s | peak of its instruction | share |", "|---|---|---|---|"]
    for name, row in result["linear"].items():
        lines.append(f"| {name} | {row['gops']:.0f} | {row['peak']:.0f} | {row['share']:.0%} |")
    lines += ["", "| time an image grows with | power | ms |", "|---|---|---|"]
    for name, row in result["growth"].items():
        points = ", ".join(f"{x}: {ms:.1f}" for x, ms in row["points"])
        lines.append(f"| {name} | {row['slope']:.2f} | {points} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write forward.json, forward.md and growth.svg."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="deit_s")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--bits", default="w8a8,w6a6,w4a4")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "model": given.model,
        "processor": platform.processor() or platform.machine(),
        "rung": best_rung(),
        "forward": forwards(
            given.model, given.bits.split(","), given.methods.split(","), given.rounds
        ),
        "linear": linear_layers(384, given.rounds),
    }
    result["growth"], picture = growth(given.rounds)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "forward.json").write_text(json.dumps(result, indent=2) + "\n")
    (given.out / "forward.md").write_text(markdown(result))
    (given.out / "growth.svg").write_text(picture)
    print(markdown(result))


if __name__ == "__main__":
    main()
