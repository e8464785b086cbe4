"""What are synthesised images worth? One quantizer, calibrated on real images, made ones and noise.

    python benchmarks/calibration_sources.py --weights FILE --calib DIR --data DIR [--work DIR]

The quantizer is psaq_vit's: min-max, 8-bit attention probabilities.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from hwq.api.network import open_network
from hwq.api.simulation import lower
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.evaluate import evaluate, float_logits
from hwq.methods.minmax import MinMax
from hwq.methods.patch_entropy import patch_entropy
from hwq.methods.psaq import PsaqSettings, synthesize
from hwq.methods.workspace import Workspace
from hwq.models.images import open_images


def gaussian(shape: tuple[int, ...], count: int) -> Calibration:
    """Noise as the synthesis starts from."""
    draw = np.random.default_rng(0).normal(0.45 * 255, 0.225 * 255, (count, *shape))
    return Calibration(np.clip(draw, 0, 255).round().astype(np.uint8), synthetic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("weights", "calib", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="existing folder that keeps made images")
    parser.add_argument("--model", default="deit_t")
    parser.add_argument("--bits", nargs="+", default=["w8a8", "w6a6", "w4a8"])
    parser.add_argument("--iterations", type=int, default=PsaqSettings.iterations)
    parser.add_argument("--count", type=int, default=PsaqSettings.count)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    source = open_network(arguments.model, arguments.weights)
    config, count = source.preprocessing, arguments.count
    real = open_images(arguments.calib, config, labelled=False).sample(count, 0)
    start = time.process_time()
    settings = PsaqSettings(count=count, iterations=arguments.iterations)
    made = synthesize(source.graph, settings, workspace=Workspace(folder=arguments.work))
    print(f"synthesis: {time.process_time() - start:.0f} CPU seconds, less what was kept")
    sources = {
        "real": Calibration.of(real.pixels()),
        "psaq": made,
        "uniform noise": Calibration.noise(config.input_size, count, 0),
        "gaussian noise": gaussian(config.input_size, count),
    }
    test = open_images(arguments.data, config, labelled=True).head(arguments.limit)
    pixels = list(test.pixels())
    logits = float_logits(source.graph, pixels, len(pixels))
    print("images          bits   patch entropy  fake-quant  integer  fp32  saturations")
    for name, images in sources.items():
        nats = patch_entropy(source.graph, images)
        for bits in arguments.bits:
            fitted = MinMax(softmax_bits=8).fit_all(source.graph, images, Bits.parse(bits))
            evaluation = evaluate(logits, fitted.graph, lower(fitted), pixels, test.labels)
            accuracy = evaluation.accuracy
            figures = (accuracy.top1_fake_quant, accuracy.top1_integer, accuracy.top1_fp32)
            cells = "  ".join(f"{value:8.2f}" for value in figures)
            clamped = sum(evaluation.saturations.values())
            print(f"{name:15} {bits}  {nats:10.2f}  {cells}  {clamped}", flush=True)


if __name__ == "__main__":
    main()
