"""The integer network of a calibrated file is one network, lowered or kept."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from hwq.api import open_integers
from hwq.api.kept_graphs import _checksum, read_graph
from hwq.api.pricing import price
from hwq.arch.load import load_accelerator
from hwq.cache import cache_folder
from hwq.errors import DataError, SpecError
from hwq.methods.base import Bits, Quantized
from hwq.methods.catalog import METHODS
from hwq.methods.checkpoint import Calibrated, to_bytes
from hwq.methods.origin import Origin
from hwq.models.preprocessing import Preprocessing
from hwq.runtime.integer_executor import IntegerExecutor

ORIGIN = Origin(
    model="tiny",
    weights="random",
    weights_sha256="0" * 64,
    method="any",
    base=None,
    bits="w4a6",
    options={},
    seed=0,
    device="cpu",
    calibration={"source": "noise", "images": 8, "sha256": "1" * 64},
    preprocessing=asdict(Preprocessing((3, 32, 32))),
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where graphs are kept: a folder of this test's; compiled kernels stay where they are."""
    kernels = cache_folder("kernels")
    root = tmp_path / "cache" / "hwq"
    root.mkdir(parents=True)
    if kernels is not None:
        (root / "kernels").symlink_to(kernels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent))
    return root / "graphs"


@pytest.fixture
def write(tmp_path):
    def to_file(graph):
        path = tmp_path / "network.safetensors"
        path.write_bytes(to_bytes(Calibrated(Quantized(graph), ORIGIN)))
        return path

    return to_file


@pytest.fixture
def tiny_file(write, quantise):
    return write(quantise("minmax", "w4a6"))


@pytest.fixture(params=sorted(METHODS))
def fitted(request, tiny_prepared, tiny_calibration, quantise, quick_method):
    if request.param == "scalepredictor":  # with every gate open
        return quantise("scalepredictor/minmax", "w4a6")
    return quick_method(request.param).fit(tiny_prepared, tiny_calibration, Bits(4, 6)).graph


def test_kept_and_lowered_networks_are_equal(home, write, fitted, lower, tiny_calibration):
    """In every tensor, and in what they cost."""
    path, lowered = write(fitted), lower(fitted)
    networks = [open_integers(path), open_integers(path)]
    assert len(list(home.iterdir())) == 1
    names = [node.name for node in lowered.nodes]
    wanted = IntegerExecutor(lowered).run(tiny_calibration.pixels[0], names)
    machine = load_accelerator("edge_16x16")
    for network in networks:
        run = IntegerExecutor(network.graph).run(tiny_calibration.pixels[0], names)
        for name in names:
            np.testing.assert_array_equal(run.values[name], wanted.values[name], name)
        assert run.saturations == wanted.saturations
        assert price(network.graph, machine).cost == price(lowered, machine).cost
        assert network.origin.to_dict() == ORIGIN.to_dict()


def test_logits_are_those_of_the_executor(home, tiny_file, tiny_calibration):
    network = open_integers(tiny_file)
    logits = network.logits(tiny_calibration.pixels[:3])
    name = network.graph.outputs[0]
    for image, row in zip(tiny_calibration.pixels, logits, strict=False):
        integers = IntegerExecutor(network.graph).run(image).values[name]
        np.testing.assert_array_equal(
            row, network.graph.tensors[name].quant.to_float(integers).ravel()
        )


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 3, 32, 32)),
        np.zeros((3, 32, 32), np.uint8),
        np.zeros((0, 3, 32, 32), np.uint8),
    ],
)
def test_other_pixels_are_refused(home, tiny_file, images):
    with pytest.raises(SpecError, match=r"images must be uint8\[B, 3, 32, 32\], not "):
        open_integers(tiny_file).logits(images)


def test_what_is_kept_needs_neither_torch_nor_timm(home, tiny_file):
    open_integers(tiny_file)
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from hwq.api import open_integers\n"
        f"network = open_integers(Path({str(tiny_file)!r}))\n"
        "print(network.logits(np.zeros((1, 3, 32, 32), np.uint8)).shape)\n"
        "print(sorted({'torch', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stdout.splitlines() == ["(1, 10)", "[]"], done.stderr


def test_damage_is_lowered_anew(home, tiny_file):
    first = open_integers(tiny_file)
    (path,) = home.iterdir()
    content = path.read_bytes()
    for damaged in (
        b"",
        content[:1000],
        content.replace(b"hwq.numerics.epilogue.Epilogue", b"hwq.numerics.epilogue.Epilog_e"),
        content.replace(b"hwq.numerics.epilogue.Epilogue", b"hwq.numerics.epilogue.required"),
        # one bit of the last weight
        content[:-1] + bytes([content[-1] ^ 1]),
    ):
        assert damaged != content
        path.write_bytes(damaged)
        again = open_integers(tiny_file)
        pixels = np.zeros((1, 3, 32, 32), np.uint8)
        np.testing.assert_array_equal(first.logits(pixels), again.logits(pixels))
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("facts"),
        lambda content: content["graph"]["nodes"][0].update(attrs=[1]),
        lambda content: content["objects"][0]["value"].update({"class": "hwq.numerics.no.such"}),
        lambda content: content["objects"][0]["value"].update({"class": "os.path.Path"}),
        lambda content: content["objects"][0]["value"].update(fields={"bits": 10**30}),
    ],
)
def test_what_another_program_wrote_is_no_network(home, tiny_file, change):
    """A checksum that fits does not make a graph of it."""
    open_integers(tiny_file)
    (path,) = home.iterdir()
    with safe_open(path, framework="np") as file:
        content = json.loads(file.metadata()["hwq"][64:])
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    change(content)
    text = json.dumps(content)
    path.write_bytes(save(arrays, {"hwq": _checksum(text, arrays) + text}))
    assert read_graph(path.stem) is None


def test_a_file_that_is_no_network_is_named(home, tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(DataError, match=f"calibrated file {path}: no such file"):
            open_integers(path)
    (tmp_path / "text").write_text("text")
    with pytest.raises(DataError, match="cannot be read"):
        open_integers(tmp_path / "text")
