"""Fixtures that most tests share: a tiny Vision Transformer, small graphs, golden text, data."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwq.graph.ir import Graph, Node, Tensor, constant_like
from hwq.graph.ops import OPS
from hwq.graph.text import to_text
from hwq.graph.verify import verify
from tests.deit import deit_program, deit_s_rows, gemm_rows  # noqa: F401  fixtures

# torch and timm take seconds to import; the fixtures that need them do so themselves
TESTS = Path(__file__).parent
ROOT = TESTS.parent
TINY_SHAPE = (3, 32, 32)
# mean / std = 1, so that folding the normalisation is exact and golden text does not depend on
# the order in which a BLAS adds
TINY_MEAN = TINY_STD = (0.5, 0.5, 0.5)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden, --simulator and --stall-seed."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the files in tests/golden anew"
    )
    parser.addoption(
        "--simulator",
        choices=("auto", "verilator", "icarus"),
        default="auto",
        help="what runs the emitted Verilog (default: Verilator if it can, else Icarus)",
    )
    parser.addoption("--stall-seed", type=int, default=1, help="seed of the random stalls")


SLOW = {
    "tests/rtl": "gateware in Amaranth's simulator",
    "tests/sim": "gateware in Verilator and Icarus, compiled",
    "tests/recipes": "gateware, too",
    "tests/fuzz": "thousands of cases",
    "tests/plan/test_deit.py": "a plan of a whole network, run byte by byte",
    "tests/plan/test_plan_executor.py": "plans of 200 programs, run byte by byte",
    "tests/runtime/test_vit_b_widths.py": "a large network in the reference executor",
    "tests/graph/test_export_cases.py": "torch.export, some fifty times",
}
"""What `-m "not slow"` leaves out beside single tests that take over ten seconds, and why."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of these folders and files."""
    for item in items:
        name = item.path.relative_to(ROOT).as_posix()
        if any(name == place or name.startswith(f"{place}/") for place in SLOW):
            item.add_marker("slow")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with a file below tests/golden, or write it with --update-golden."""

    def check(name: str, text: str) -> None:
        path = TESTS / "golden" / name
        if request.config.getoption("--update-golden"):
            source = request.path.relative_to(ROOT)
            header = f"# written by {source}, {request.node.originalname} (pytest --update-golden)"
            path.write_text(f"{header}\n{text}", encoding="utf-8")
        assert path.is_file(), f"{path} is missing; pytest --update-golden writes it"
        kept = path.read_text(encoding="utf-8").splitlines()[1:]
        assert text.splitlines() == kept

    return check


@pytest.fixture(scope="session")
def build_graph() -> Callable[..., Graph]:
    """Return a function that builds a verified graph from short descriptions.

    build_graph(input shape, {constant: array}, (name, op, inputs[, attrs]), ...): shapes are
    inferred, the last node is the output, arrays become float32; attrs may have the tensor's quant.
    """

    def build(shape, constants, *nodes, outputs=None):
        shapes = {"image": shape, **{name: np.shape(value) for name, value in constants.items()}}
        made = []
        for name, op, inputs, *rest in nodes:
            attrs = dict(rest[0]) if rest else {}
            quant = attrs.pop("quant", None)
            sizes = [shapes[source] for source in inputs]
            shapes[name] = OPS[op].infer(sizes, attrs)
            made.append(Node(op, tuple(inputs), Tensor(name, shapes[name], quant=quant), attrs))
        arrays = {name: constant_like(value) for name, value in constants.items()}
        inputs = (Tensor("image", tuple(shape)),)
        results = tuple(outputs or (nodes[-1][0],))
        return verify(Graph("small", inputs, arrays, tuple(made), results))

    return build


@pytest.fixture(scope="session")
def grid() -> Callable[..., np.ndarray]:
    """Return a function that draws multiples of 1/256 in -reach..reach: exact everywhere."""

    def draw(*shape, seed=0, reach=0.3):
        limit = int(reach * 256)
        return np.random.default_rng(seed).integers(-limit, limit + 1, shape) / np.float32(256)

    return draw


@pytest.fixture
def check_pass(golden) -> Callable[..., Graph]:
    """Return a function that applies a pass and checks what every pass owes.

    The text before and after is golden; the graph is verified; the result on random images is
    unchanged within `atol`; a second application changes nothing.
    """

    import torch

    from hwq.compiler.passes.base import run_passes
    from hwq.runtime.fake_quant_executor import FakeQuantExecutor

    def check(one, graph, *, name=None, atol=1e-5, convert=lambda x: x, again=True):
        after = run_passes(graph, [one])
        text = f"before\n{to_text(graph)}\nafter {one.name}\n{to_text(after)}"
        golden(f"passes/{name or one.name}.txt", text)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((4, *graph.inputs[0].shape[1:]), generator=generator)
        before = FakeQuantExecutor(graph)(convert(images))
        result = FakeQuantExecutor(after)(images)
        for old, new in zip(graph.outputs, after.outputs, strict=True):
            torch.testing.assert_close(result[new], before[old], rtol=0, atol=atol)
        if again:
            assert to_text(run_passes(after, [one])) == to_text(after)
        return after

    return check


def tiny_vit(**changes):
    """Return a Vision Transformer of two blocks whose weights are seeded multiples of 1/256."""
    import torch
    from timm.models.vision_transformer import VisionTransformer

    torch.set_num_threads(1)  # threads only cost time on tensors as small as these
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    module = VisionTransformer(**{**options, "num_classes": 10, "mlp_ratio": 2.0, **changes})
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for name, value in module.named_parameters():
            draw = generator.integers(-76, 77, tuple(value.shape)) / np.float32(256)
            centre = 1.0 if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")) else 0.0
            value.copy_(torch.tensor(draw + np.float32(centre)))
    return module.eval()


@pytest.fixture(scope="session")
def make_tiny_vit():
    """Return `tiny_vit`, which takes any option of timm's VisionTransformer."""
    return tiny_vit


@pytest.fixture(scope="session")
def tiny_module():
    return tiny_vit()


@pytest.fixture(scope="session")
def tiny_graph(tiny_module) -> Graph:
    """Return the tiny network as imported."""
    from hwq.graph.import_torch import import_torch

    return import_torch(tiny_module, (1, *TINY_SHAPE), "tiny")


@pytest.fixture(scope="session")
def tiny_prepared(tiny_graph) -> Graph:
    """Return the tiny network that reads pixels, ready for a method."""
    from hwq.compiler.passes.base import run_passes
    from hwq.compiler.pipelines import prepare

    return run_passes(tiny_graph, prepare(TINY_MEAN, TINY_STD))


@pytest.fixture(scope="session")
def tiny_calibration():
    """Return eight images of noise that pass for real ones."""
    from hwq.methods.calibration import Calibration

    return Calibration(Calibration.noise(TINY_SHAPE, 8, seed=1).pixels)


@pytest.fixture(scope="session")
def lower() -> Callable[[Graph], Graph]:
    """Return the function from a quantised graph to the integer graph."""
    from hwq.compiler.passes.base import run_passes
    from hwq.compiler.pipelines import HOIST, LOWER

    return lambda graph: run_passes(graph, [*HOIST, *LOWER])


@pytest.fixture(scope="session")
def open_gates() -> Callable[..., Graph]:
    """Return a function that gives a graph with a static scale predictor random coefficients."""
    import torch

    def opened(graph, seed=0):
        generator = torch.Generator().manual_seed(seed)
        nodes = []
        for node in graph.nodes:
            if node.op == "scale_predictor":
                static = node.attrs["predictor"]
                width = static.centre.numel()
                predictor = replace(
                    static,
                    centre=torch.rand(width, generator=generator) * 8,
                    projection=torch.randn(static.projection.shape, generator=generator) / width,
                    coefficients=torch.randn(static.coefficients.shape, generator=generator) / 16,
                    biases=torch.randn(static.biases.shape, generator=generator) / 8,
                )
                node = replace(node, attrs={**node.attrs, "predictor": predictor})
            nodes.append(node)
        return replace(graph, nodes=tuple(nodes))

    return opened


# options with which methods that take minutes by default take a moment
QUICK = {
    "adfq_vit": {"iterations": 2, "batch": 4, "outliers": 0.02},
    "is_vit": {"iterations": 2, "batch": 4},
    "psaq_vit": {"count": 4, "iterations": 2},
}


@pytest.fixture(scope="session")
def quick_method():
    """Return a function: name -> the method, with options that make it quick."""
    from hwq.methods.catalog import METHODS

    return lambda name: METHODS[name](**QUICK.get(name, {}))


@pytest.fixture(scope="session")
def quantise(tiny_prepared, tiny_calibration, open_gates) -> Callable[[str, str], Graph]:
    """Return a function (method, bits) -> quantised tiny network, made once.

    "minmax/log2" is minmax with logarithmic probabilities; "scalepredictor/minmax" and
    "scalepredictor/repq_vit" have a random predictor for every scale.
    """
    from hwq.methods.base import Bits
    from hwq.methods.catalog import METHODS

    made = {}

    def fit(method, bits):
        if (method, bits) not in made:
            name, _, option = method.partition("/")
            options = dict(QUICK.get(name, {}))
            if option:
                options[{"minmax": "softmax", "scalepredictor": "base"}[name]] = option
            fitter = METHODS[name](**options)
            images = tiny_calibration
            if name == "scalepredictor":
                images = replace(images, synthetic=True)  # not fitted, so every gate is open
            graph = fitter.fit(tiny_prepared, images, Bits.parse(bits)).graph
            made[method, bits] = open_gates(graph)
        return made[method, bits]

    return fit


@pytest.fixture(scope="session")
def hwq_data() -> Path:
    """Return the folder with weights and images, or skip."""
    given = os.environ.get("HWQ_DATA")
    path = Path(given) if given else ROOT.parent / "shared"
    if not (path / "weights").is_dir() or not (path / "data").is_dir():
        pytest.skip(f"no weights and images: set HWQ_DATA to their folder ({path} has none)")
    return path


USER_MODEL = """
from timm.models.vision_transformer import VisionTransformer

def build():
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=1000
    )
    model.pretrained_cfg = {"input_size": (3, 32, 32), "crop_pct": 1.0}
    return model

def number():
    return 3
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A folder with a tiny network, some images, and nothing else; it is the current one."""
    from PIL import Image

    (tmp_path / "tiny_for_cli.py").write_text(USER_MODEL)
    generator = np.random.default_rng(0)
    for wnid in ("n01440764", "n01484850"):
        folder = tmp_path / "images" / wnid
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path
