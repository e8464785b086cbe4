"""Calibrated files of every method, changed in their JSON, their tensors and their bytes."""

import copy
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.testing import assert_array_equal
from safetensors import safe_open
from safetensors.torch import save

from hwq.api.network import float_graph
from hwq.api.simulation import simulate
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER
from hwq.graph.ir import Graph
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.checkpoint import Calibrated, content_sha256, to_bytes
from hwq.methods.checkpoint_reader import load_calibrated
from hwq.methods.origin import Origin
from hwq.models.catalog import Network
from hwq.models.preprocessing import Preprocessing
from hwq.report.to_html import to_html
from hwq.report.to_json import to_json
from hwq.request import Request
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.reference_executor import ReferenceExecutor
from tests.fuzz import mutate
from tests.fuzz.harness import accepts

SIZE = (3, 8, 8)
FITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("minmax", "w4a4", {}),
    ("minmax", "w8a8", {"softmax": "log2"}),
    ("ptq4vit", "w6a6", {}),
    ("repq_vit", "w4a8", {}),
    ("is_vit", "w3a3", {"iterations": 1, "batch": 2}),
    ("adfq_vit", "w8a8", {"iterations": 1, "batch": 2, "outliers": 0.02}),
    ("scalepredictor", "w6a6", {"base": "minmax"}),
)


def micro_vit() -> torch.nn.Module:
    """Return a Vision Transformer of one block and five tokens."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    options = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
    return VisionTransformer(**options, num_classes=3, mlp_ratio=2.0).eval()


def original(method: str, bits: str, options: dict[str, Any]) -> bytes:
    """Return the calibrated file of a small network."""
    network = Network("micro", micro_vit(), Preprocessing(SIZE, (0.5,) * 3, (0.5,) * 3), False)
    # made-up images that pass for real ones, so that the gates of a scale predictor open
    images = Calibration(
        Calibration.noise(SIZE, 4, seed=0).pixels, synthetic=method == "scalepredictor"
    )
    quantized = METHODS[method](**options).fit(float_graph(network), images, Bits.parse(bits))
    origin = Origin(
        *("micro", "random", "0" * 64, method, options.get("base"), bits, options, 0, "cpu"),
        {"source": "noise", "images": 4, "sha256": "0" * 64},
        asdict(network.preprocessing),
        {"hwq": "0.1.0"},
    )
    return to_bytes(Calibrated(quantized, origin))


class CalibratedFiles:
    """Load a changed file; what is accepted is simulated, and both executors agree on it."""

    name = "calibrated"

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"calibrated-{os.getpid()}.safetensors"
        self.originals = []
        for fit in FITS:
            data = original(*fit)
            self.path.write_bytes(data)
            with safe_open(self.path, framework="pt") as file:
                content = json.loads(file.metadata()["hwq"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            self.originals.append((data, content, tensors, mutate.places(content)))
            self._use()  # as it is, it runs; and kernels are compiled before anything is timed

    def run(self, rng: mutate.Rng) -> bool:
        """Try one file."""
        data, content, tensors, paths = mutate.pick(rng, self.originals)
        if rng.random() < 0.05:
            self.path.write_bytes(mutate.flipped(rng, data))
        else:
            self.path.write_bytes(self._changed(rng, content, dict(tensors), paths))
        if not accepts(lambda: load_calibrated(self.path)):
            return False
        return accepts(self._use)

    def _changed(
        self, rng: mutate.Rng, content: Any, tensors: dict[str, torch.Tensor], paths: Any
    ) -> bytes:
        content = copy.deepcopy(content)
        for _ in range(int(rng.integers(1, 3))):
            if rng.random() < 0.6:
                mutate.tree(rng, content, paths)
            else:
                name = mutate.pick(rng, sorted(tensors))
                if rng.random() < 0.1:
                    del tensors[name]
                else:
                    tensors[name] = mutate.tensor(rng, tensors[name])
        content.pop("sha256", None)
        content["sha256"] = content_sha256(content, tensors)
        return save(tensors, {"hwq": mutate.json_text(rng, json.dumps(content))})

    def _use(self) -> None:
        """Simulate, report, and compare every tensor of both executors."""
        result = simulate(Request(checkpoint=self.path, accelerator="edge_16x16"))
        to_json(result)
        to_html(result)
        integer = run_passes(load_calibrated(self.path).quantized.graph, (*HOIST, *LOWER))
        pixels = np.random.default_rng(0).integers(0, 256, integer.inputs[0].shape, np.uint8)
        compare(integer, pixels[0])


def compare(integer: Graph, pixels: np.ndarray) -> None:
    """Raise AssertionError for a tensor on which the executors differ."""
    names = [node.name for node in integer.nodes]
    fast, slow = (
        run(integer).run(pixels, names).values for run in (IntegerExecutor, ReferenceExecutor)
    )
    for name in names:
        assert_array_equal(fast[name], slow[name], name)
