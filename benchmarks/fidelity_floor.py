"""How far is a fake-quant network from itself? Its float32 and float64 runs, beside the integers.

Quantizers amplify rounding: a difference far below one code flips some codes, each flip is a whole
code, and after a few layers two runs of the *same* fake-quant graph differ by its quantization
noise. This is the floor under which top-1 of integers and fake-quant cannot be told apart.

    python benchmarks/fidelity_floor.py --weights FILE --calib DIR --data DIR [--bits w8a8 ...]
"""

import argparse
from pathlib import Path

import torch

from hwq import api
from hwq.graph.ir import Graph
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.evaluate import sqnr_db
from hwq.models.catalog import create_network
from hwq.models.images import open_images
from hwq.models.weights import load_weights
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.integer_executor import IntegerExecutor

_BATCH = 16


def logits(graph: Graph, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    executor = FakeQuantExecutor(graph)
    for name, value in executor.constants.items():
        if value.is_floating_point():
            executor.constants[name] = value.to(dtype)
    name = graph.outputs[0]
    with torch.no_grad():
        parts = [executor(part.to(dtype))[name] for part in pixels.split(_BATCH)]
    return torch.cat(parts).double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("weights", "calib", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=["minmax", "repq_vit"])
    parser.add_argument("--bits", nargs="+", default=["w8a8", "w6a6", "w4a4"])
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    network = create_network("deit_t")
    load_weights(network.module, arguments.weights)
    graph = api.float_graph(network)
    config = network.preprocessing
    calibration = Calibration.of(
        open_images(arguments.calib, config, labelled=False).sample(32, 0).pixels()
    )
    images = open_images(arguments.data, config, labelled=True).head(arguments.limit)
    pixels, labels = images.load(), torch.tensor(images.labels)
    real = logits(graph, torch.from_numpy(pixels), torch.float32)
    print(f"{len(labels)} images; top-1 in percent; SQNR in dB of the logits")
    print("                 top-1                | SQNR to float32      | SQNR to fq32")
    print("method    bits     fq32   fq64    int |   fq32   fq64    int |   fq64    int")
    for method in arguments.methods:
        for bits in arguments.bits:
            fitted = METHODS[method]().fit(graph, calibration, Bits.parse(bits))
            integer = api.lower(fitted)
            out = integer.outputs[0]
            rows = IntegerExecutor(integer).run_batch(list(pixels))
            runs = [
                logits(fitted.graph, torch.from_numpy(pixels), dtype)
                for dtype in (torch.float32, torch.float64)
            ]
            form = integer.tensors[out].quant
            exact = [torch.from_numpy(form.to_float(row.values[out])) for row in rows]
            runs.append(torch.stack(exact).flatten(1))
            top1 = [100 * float((run.argmax(1) == labels).double().mean()) for run in runs]
            noise = [sqnr_db(real, run) for run in runs]
            apart = [sqnr_db(runs[0], run) for run in runs[1:]]
            cells = [*(f"{v:6.2f}" for v in top1), "|", *(f"{v:6.2f}" for v in noise), "|"]
            print(f"{method:9} {bits} ", *cells, *(f"{v:6.2f}" for v in apart), flush=True)


if __name__ == "__main__":
    main()
