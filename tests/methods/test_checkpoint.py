"""What is written is what is read: the same graph, and the same integers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hwq.graph.text import to_text
from hwq.methods.base import METHODS, Bits, Quantized
from hwq.methods.checkpoint import Calibrated, Origin, load_calibrated, to_bytes
from hwq.runtime.fake_quant_executor import FakeQuantExecutor
from hwq.runtime.integer_executor import IntegerExecutor

ORIGIN = Origin(
    model="tiny",
    weights="random",
    weights_sha256="0" * 64,
    method="minmax",
    base=None,
    bits="w4a6",
    options={"softmax": "uniform", "pair": (1, 2)},
    seed=0,
    device="cpu",
    calibration={"source": "noise", "images": 8, "sha256": "1" * 64},
    preprocessing={"input_size": (3, 32, 32)},
    versions={"hwq": "0.1.0"},
)


def write(path, graph, **changes):
    quantized = Quantized(graph, ("a note",), {"figure": 1.5, "list": (1, float("inf"))})
    path.write_bytes(to_bytes(Calibrated(quantized, replace(ORIGIN, **changes))))
    return path


@pytest.fixture(scope="module", params=sorted(METHODS))
def fitted(request, tiny_prepared, tiny_calibration, quantise, quick_method):
    if request.param == "scalepredictor":
        return quantise("scalepredictor/minmax", "w4a6")
    return quick_method(request.param).fit(tiny_prepared, tiny_calibration, Bits(4, 6)).graph


def test_the_same_network_comes_back(fitted, tmp_path, lower, tiny_calibration):
    loaded = load_calibrated(write(tmp_path / "a.safetensors", fitted)).quantized.graph
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    with torch.no_grad():
        mine, wanted = (FakeQuantExecutor(g)(pixels)["head"] for g in (loaded, fitted))
    torch.testing.assert_close(mine, wanted, rtol=0, atol=0)
    assert to_text(lower(loaded)) == to_text(lower(fitted))
    runs = [IntegerExecutor(lower(g)).run(tiny_calibration.pixels[0]) for g in (loaded, fitted)]
    np.testing.assert_array_equal(runs[0].values["head"], runs[1].values["head"])
    for node in loaded.nodes:
        if node.op == "quantize":
            assert node.output.quant is node.attrs["quantizer"]


def test_what_is_read_is_written_again_byte_for_byte(fitted, tmp_path):
    path = write(tmp_path / "a.safetensors", fitted)
    loaded = load_calibrated(path)
    assert to_bytes(loaded) == path.read_bytes()
    assert loaded.origin.to_dict() == ORIGIN.to_dict()
    assert loaded.quantized.notes == ("a note",)
    assert loaded.quantized.findings == {"figure": 1.5, "list": [1, None]}


def test_weights_are_integers(fitted, tmp_path):
    with safe_open(write(tmp_path / "a.safetensors", fitted), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    codes = [tensor for name, tensor in tensors.items() if name.startswith("codes/")]
    assert len(codes) == 2 * 4 + 2
    assert all(tensor.dtype == torch.int8 and int(tensor.abs().max()) <= 8 for tensor in codes)
    floats = [t for name, t in tensors.items() if name.startswith("constants/")]
    assert max(tensor.numel() for tensor in floats) == 17 * 32  # the position embedding
