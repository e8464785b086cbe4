"""What is written is what is read: the same graph, and the same integers."""

import json
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hwq.errors import DataError, GraphError
from hwq.graph.text import to_text
from hwq.methods.base import Bits, Quantized
from hwq.methods.catalog import METHODS
from hwq.methods.checkpoint import Calibrated, content_sha256, to_bytes
from hwq.methods.checkpoint_reader import load_calibrated
from hwq.methods.origin import Origin
from hwq.models.preprocessing import Preprocessing
from hwq.quantizers.catalog import QUANTIZERS
from hwq.quantizers.log2 import Log2
from hwq.quantizers.uniform import Uniform
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
    preprocessing=asdict(Preprocessing((3, 32, 32))),
    versions={"hwq": "0.1.0"},
)


def write(path, graph, **changes):
    quantized = Quantized(graph, ("a note",), {"figure": 1.5, "list": (1, float("inf"))})
    path.write_bytes(to_bytes(Calibrated(quantized, replace(ORIGIN, **changes))))
    return path


@pytest.fixture(scope="module")
def minmax(quantise):
    return quantise("minmax", "w4a6")


@pytest.fixture(scope="module", params=sorted(METHODS))
def fitted(request, tiny_prepared, tiny_calibration, quantise, quick_method):
    if request.param == "scalepredictor":  # with every gate open
        return quantise("scalepredictor/minmax", "w4a6")
    return quick_method(request.param).fit(tiny_prepared, tiny_calibration, Bits(4, 6)).graph


def test_the_same_network_comes_back(fitted, tmp_path, lower, tiny_calibration):
    loaded = load_calibrated(write(tmp_path / "a.safetensors", fitted)).quantized.graph
    pixels = torch.from_numpy(tiny_calibration.pixels).float()
    with torch.no_grad():
        mine, wanted = (FakeQuantExecutor(g)(pixels)["head"] for g in (loaded, fitted))
    torch.testing.assert_close(mine, wanted, rtol=0, atol=0)
    integer = [lower(graph) for graph in (loaded, fitted)]
    assert to_text(integer[0]) == to_text(integer[1])
    runs = [IntegerExecutor(graph).run(tiny_calibration.pixels[0]) for graph in integer]
    np.testing.assert_array_equal(runs[0].values["head"], runs[1].values["head"])


def test_what_is_read_is_written_again_byte_for_byte(fitted, tmp_path):
    path = write(tmp_path / "a.safetensors", fitted)
    loaded = load_calibrated(path)
    assert to_bytes(loaded) == path.read_bytes()
    assert loaded.origin.to_dict() == ORIGIN.to_dict()
    assert loaded.quantized.notes == ("a note",)
    assert loaded.quantized.findings == {"figure": 1.5, "list": [1, None]}


def test_weights_are_integers(fitted, tmp_path):
    tensors = read(write(tmp_path / "a.safetensors", fitted))[1]
    codes = [tensor for name, tensor in tensors.items() if name.startswith("codes/")]
    assert len(codes) == 2 * 4 + 2
    assert all(tensor.dtype == torch.int8 for tensor in codes)
    floats = [t for name, t in tensors.items() if name.startswith("constants/")]
    assert max(tensor.numel() for tensor in floats) == 17 * 32  # the position embedding


def test_another_process_writes_the_same_bytes(minmax, tmp_path):
    path = write(tmp_path / "a.safetensors", minmax)
    code = (
        "import sys; from pathlib import Path\n"
        "from hwq.methods.checkpoint import to_bytes\n"
        "from hwq.methods.checkpoint_reader import load_calibrated\n"
        "Path('b').write_bytes(to_bytes(load_calibrated(Path('a.safetensors'))))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "b").read_bytes() == path.read_bytes()


def test_no_place_and_no_time_is_in_the_file(minmax, tmp_path):
    content = read(write(tmp_path / "a.safetensors", minmax))[0]
    assert set(content) == {
        *("format", "version", "origin", "notes", "findings", "graph", "objects"),
        *("constants", "codes", "sha256"),
    }
    assert str(tmp_path) not in json.dumps(content)


def with_quantizer(graph, name, change):
    """Return the graph whose `quantize` node `name` has the quantizer change(the old one)."""
    node = graph.by_name[name]
    quantizer = change(node.quantizer)
    new = replace(node, output=replace(node.output, quant=quantizer))
    return replace(graph, nodes=tuple(new if one is node else one for one in graph.nodes))


def test_a_users_quantizer_needs_no_code_here(minmax, tmp_path, monkeypatch, lower):
    """Registered by name; its fields are all that is needed."""

    @dataclass(frozen=True, eq=False)
    class Annotated(Uniform):
        name: ClassVar[str] = "annotated"
        parts: tuple[Log2, ...] = ()
        note: str | None = None

    def annotate(old):
        return Annotated(old.scale, old.zero_point, old.bits, parts=(Log2(4, 1),), note="x")

    graph = with_quantizer(minmax, "blocks.0.mlp.fc1.a", annotate)
    with pytest.raises(GraphError, match=r"fc1\.a\.quant: a Annotated cannot be kept"):
        write(tmp_path / "a.safetensors", graph)
    monkeypatch.setitem(QUANTIZERS._loaded, "annotated", Annotated)
    loaded = load_calibrated(write(tmp_path / "a.safetensors", graph)).quantized.graph
    assert to_text(lower(loaded)) == to_text(lower(graph))
    quantizer = loaded.by_name["blocks.0.mlp.fc1.a"].quantizer
    assert isinstance(quantizer, Annotated) and quantizer.note == "x"
    assert isinstance(quantizer.parts, tuple) and quantizer.parts[0].offset == 1


def test_codes_that_do_not_survive_are_refused(minmax, tmp_path, monkeypatch):
    class Forgetful(Uniform):
        name = "forgetful"

        def decode(self, codes):
            return super().decode(codes) / 2

    monkeypatch.setitem(QUANTIZERS._loaded, "forgetful", Forgetful)
    graph = with_quantizer(
        minmax, "head.b", lambda old: Forgetful(old.scale, old.zero_point, old.bits, old.signed)
    )
    with pytest.raises(GraphError, match=r"head\.weight: codes of forgetful do not survive"):
        write(tmp_path / "a.safetensors", graph)


def read(path):
    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["hwq"])
        names = sorted(file.keys())
        return content, {name: file.get_tensor(name) for name in names}


def rewrite(path, change, digest=True):
    """Write the file anew with its JSON changed, with or without a digest that fits."""
    content, tensors = read(path)
    change(content, tensors)
    if digest:
        content.pop("sha256", None)
        content["sha256"] = content_sha256(content, tensors)
    save_file(tensors, path, {"hwq": json.dumps(content)})


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps(print)), "cannot be read"),
        (lambda path: flip(path, -1), "sha256 is not that of the content"),
        (lambda path: save_file({"a": torch.zeros(1)}, path), "metadata lacks 'hwq'"),
        (lambda path: save_file({"a": torch.zeros(1)}, path, {"hwq": "{"}), "hwq: no JSON"),
        (lambda path: save_file({"a": torch.zeros(1)}, path, {"hwq": "[]"}), "no JSON object"),
        (lambda path: rewrite(path, lambda c, t: c.update(format="x")), "format must be"),
        (lambda path: rewrite(path, lambda c, t: c.update(version=4)), "version .* newer hwq"),
        (lambda path: rewrite(path, lambda c, t: c.update(version="1")), "version"),
        (
            lambda path: rewrite(path, lambda c, t: c["origin"].update(seed=1), digest=False),
            "sha256 is not that of the content",
        ),
        (lambda path: rewrite(path, lambda c, t: c["origin"].pop("seed")), "seed is missing"),
        (lambda path: rewrite(path, lambda c, t: c.pop("graph")), "graph is missing"),
        (
            lambda path: rewrite(path, lambda c, t: t.pop("codes/head.weight")),
            "constants: lacks 'codes/head.weight'",
        ),
        (
            lambda path: rewrite(
                path, lambda c, t: c["objects"][0]["value"].update({"class": "magic"})
            ),
            "objects: unknown quantizer 'magic'",
        ),
        (
            lambda path: rewrite(
                path, lambda c, t: c["objects"][0]["value"]["fields"].update(bits=99)
            ),
            "objects: patch_embed.*: bits must be in 1..62, not 99",
        ),
        (
            lambda path: rewrite(path, lambda c, t: c["graph"]["nodes"][0].update(op="magic")),
            "graph: .*unknown operation",
        ),
        (
            lambda path: rewrite(path, lambda c, t: c["graph"].update(outputs=["nowhere"])),
            "graph: .*nowhere",
        ),
    ],
)
def test_a_bad_file_is_one_clear_line(minmax, tmp_path, spoil, words):
    path = write(tmp_path / "a.safetensors", minmax)
    spoil(path)
    with pytest.raises(DataError, match=rf"calibrated file .*a\.safetensors.*{words}") as caught:
        load_calibrated(path)
    assert "\n" not in str(caught.value)


SCALE = "blocks.0.mlp.fc1.b.quant.scale"


def tensor(name, change):
    return lambda content, tensors: tensors.update({name: change(tensors[name])})


def node(op, change):
    def spoil(content, tensors):
        change(next(node for node in content["graph"]["nodes"] if node["op"] == op))

    return spoil


def origin(**fields):
    return lambda content, tensors: content["origin"].update(fields)


def prepared(**fields):
    return lambda content, tensors: content["origin"]["preprocessing"].update(fields)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (tensor(SCALE, lambda x: x[:5]), r"scale of shape \[5, 1\] does not fit .* \[64, 32\]"),
        (tensor(SCALE, lambda x: x[None]), r"scale of shape \[1, 64, 1\] does not fit"),
        (
            tensor(SCALE, lambda x: x.expand(64, 32).contiguous()),
            "one scale for all that is summed",
        ),
        (tensor(SCALE, lambda x: x * 0), "scale must be in 7.89e-31..1.27e\\+30, not 0.0"),
        (tensor(SCALE, lambda x: x / 0), "scale must be in .*, not inf"),
        (tensor(SCALE, lambda x: x * torch.nan), "scale must be in .*, not nan"),
        (tensor(SCALE, lambda x: -x), "scale must be in .*, not -"),
        (tensor(SCALE, lambda x: x > 0), "must not be torch.bool"),
        (tensor(SCALE, lambda x: x.to(torch.complex64)), "must not be torch.complex64"),
        (tensor(SCALE, lambda x: x.to(torch.float8_e4m3fn)), "must not be torch.float8_e4m3fn"),
        (tensor(SCALE, lambda x: x.to(torch.int32)), "scale must be float32, not torch.int32"),
        (tensor(SCALE, lambda x: x[:0]), "has no elements"),
        (tensor("codes/head.weight", lambda x: x.clone().fill_(100)), r"codes must be in -8\.\.7"),
        (tensor("constants/head.bias", lambda x: x / 0), "must hold finite float32 numbers"),
        (lambda c, t: t.update(more=torch.ones(1)), "tensor 'more' belongs to nothing"),
        (lambda c, t: c.update(notes=[1]), "notes.0 must be text, not 1"),
        (lambda c, t: c.update(findings=[]), r"findings must be a table of fields, not \[\]"),
        (lambda c, t: c.update(more=1), "unknown key 'more'"),
        (origin(seed=-1), "origin.seed must be at least 0, not -1"),
        (origin(seed=10**40), "origin.seed must be below 4294967296, not a number of more than"),
        (origin(bits="w9a9"), "origin.bits must match"),
        (origin(method=7), "origin.method must be text, not 7"),
        (prepared(std=[0.5, 0.5]), "origin.preprocessing.std must be 3 numbers"),
        (prepared(input_size=[3, 0, 32]), "graph: input 'image' must be"),
        (prepared(crop_pct=None), "origin.preprocessing.crop_pct must be a number, not None"),
        (prepared(interpolation="magic"), "origin.preprocessing.interpolation must be one of"),
        (node("softmax", lambda n: n["attrs"].update(base=3)), "base must be one of 2, 'e', not 3"),
        (node("softmax", lambda n: n["attrs"].update(more=3)), "unknown attribute 'more'"),
        (node("select", lambda n: n["attrs"].update(axis=-1)), "axis must be a whole number in 0"),
        (node("select", lambda n: n["attrs"].update(index=True)), "index must be a whole number"),
        (node("matmul", lambda n: n["attrs"].pop("alpha")), "lacks attribute alpha"),
        (node("reshape", lambda n: n["attrs"].update(shape="x")), "shape must be whole numbers"),
        (
            node("add", lambda n: n["output"].update(quant=None)),
            "its tensor must be in fixed point",
        ),
        (node("linear", lambda n: n["output"].update(shape=[0])), "must be at least 1, not 0"),
    ],
)
def test_what_is_read_is_a_valid_network(minmax, tmp_path, spoil, words):
    """A digest is no defence: it is computed anew here, as anyone can."""
    from hwq.api.network import open_calibrated

    path = write(tmp_path / "a.safetensors", minmax)
    rewrite(path, spoil)
    with pytest.raises(DataError, match=rf"calibrated file .*a\.safetensors: .*{words}"):
        open_calibrated(path)


@pytest.mark.parametrize("word", ["NaN", "1e999", "-Infinity", "[" * 5000])
def test_what_only_python_takes_for_json_is_refused(minmax, tmp_path, word):
    path = write(tmp_path / "a.safetensors", minmax)
    content, tensors = read(path)
    save_file(tensors, path, {"hwq": json.dumps(content).replace("1.5", word)})
    with pytest.raises(DataError, match=r"a\.safetensors: hwq: no JSON \("):
        load_calibrated(path)


def test_a_constant_of_other_codes_is_kept_as_it_is(build_graph, tmp_path):
    """Only uniform codes are read back as a constant."""
    graph = build_graph(
        (1, 4), {"w": [[0.5, 0.25, 0.0, 1.0]]}, ("c", "quantize", ["w"], {"quant": Log2(4)})
    )
    quantized = Quantized(graph, (), {})
    path = tmp_path / "a.safetensors"
    path.write_bytes(to_bytes(Calibrated(quantized, ORIGIN)))
    content, tensors = read(path)
    assert content["codes"] == {} and tensors["constants/w"].dtype == torch.float32
