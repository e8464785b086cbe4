"""Modules that gave wrong numbers without a word, each from the module to its integers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hwq.api.network import float_graph
from hwq.compiler.emit_program import emit_program
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER
from hwq.errors import HwqError, SpecError
from hwq.graph.verify import verify
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.methods.quantized_graph import check_quantized
from hwq.models.catalog import Network
from hwq.models.preprocessing import Preprocessing
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.node_check import check_nodes
from hwq.runtime.reference_executor import ReferenceExecutor

MEANS, STDS = (0.1, 0.5, 0.8), (0.2, 0.3, 0.6)  # far apart, so that a wrong channel shows
WIDTH, TOKENS = 16, 4


class Patches(nn.Module):
    """A rearrange and a Linear, with the channel last or first."""

    def __init__(self, channels=3, last=True):
        super().__init__()
        self.last = last
        self.linear = nn.Linear(channels * 16, WIDTH)

    def forward(self, image):
        x = image.unflatten(2, (-1, 4)).unflatten(4, (-1, 4))  # [B, C, 2, 4, 2, 4]
        axes = (0, 2, 4, 3, 5, 1) if self.last else (0, 2, 4, 1, 3, 5)
        return self.linear(x.permute(axes).reshape(len(image), TOKENS, -1))


class Written(nn.Module):
    """Patches, and what a user writes behind them."""

    def __init__(self, forward, channels=3, last=True, **parts):
        super().__init__()
        self.patches, self.head = Patches(channels, last), nn.Linear(WIDTH, 5)
        self.write = forward
        for name, part in parts.items():
            setattr(self, name, part() if isinstance(part, type) else part)

    def forward(self, image):
        return self.head(self.write(self, self.patches(image)))


def linear(**options):
    return nn.Linear(WIDTH, WIDTH, **options)


def attend(m, q, k, v):
    return (q @ k.transpose(-1, -2) * 0.25).softmax(-1) @ v


def latent(m, x):
    """Attention pooling: a learned query on the tokens."""
    pooled = attend(m, m.query.expand(len(x), -1, -1), m.key(x), m.value(x))
    return pooled[:, 0]


def parameter(*shape, scale=1.0):
    return nn.Parameter(scale * torch.randn(shape))


def scaled_twice(m, x):
    """One layer read with two scalings behind it."""
    return m.fc(x) * m.one + m.fc(m.norm(x)) * m.two


CASES = {
    "x + gelu(y)": lambda: Written(lambda m, x: x + F.gelu(m.fc(x)), fc=linear()),
    "x + 100 gelu(y)": lambda: Written(lambda m, x: x + 100 * F.gelu(m.fc(x)), fc=linear()),
    "x + 0.01 gelu(y)": lambda: Written(lambda m, x: x + 0.01 * F.gelu(m.fc(x)), fc=linear()),
    "x + softmax(y)": lambda: Written(lambda m, x: x + m.fc(x).softmax(-1), fc=linear()),
    "softmax in a concat": lambda: Written(
        lambda m, x: m.out(torch.cat([8 * x, m.fc(x).softmax(-1)], -1)),
        fc=linear(),
        out=nn.Linear(2 * WIDTH, WIDTH),
    ),
    "probabilities plus a constant": lambda: Written(
        lambda m, x: (m.fc(x).softmax(-1) + m.offset) @ m.projection,
        **{"fc": linear(), "offset": parameter(WIDTH), "projection": parameter(WIDTH, WIDTH)},
    ),
    "scores that two read": lambda: Written(
        lambda m, x: (s := x @ m.fc(x).transpose(1, 2)).softmax(-1) @ x + s @ x, fc=linear()
    ),
    "GELU before LayerNorm": lambda: Written(
        lambda m, x: m.norm(F.gelu(m.fc(x))), fc=linear(), norm=nn.LayerNorm(WIDTH)
    ),
    "LayerNorm and GELU of a constant": lambda: Written(
        lambda m, x: x + F.gelu(m.norm(m.table)),
        **{"norm": nn.LayerNorm(WIDTH), "table": parameter(TOKENS, WIDTH)},
    ),
    "the channel first": lambda: Written(lambda m, x: x, last=False),
    "the channel last": lambda: Written(lambda m, x: x),
    "one channel": lambda: Written(lambda m, x: x, channels=1),
    "one layer read twice": lambda: Written(
        scaled_twice,
        **{"fc": linear(), "norm": nn.LayerNorm(WIDTH)},
        **{"one": parameter(WIDTH), "two": parameter(WIDTH)},
    ),
    "tokens @ constant": lambda: Written(
        lambda m, x: x @ m.projection, projection=parameter(WIDTH, WIDTH)
    ),
    "constant @ tokens": lambda: Written(
        lambda m, x: m.mixer @ m.fc(x), fc=linear(), mixer=parameter(TOKENS, TOKENS)
    ),
    "a latent query": lambda: Written(
        latent, **{"query": parameter(1, 1, WIDTH), "key": linear(), "value": linear()}
    ),
    "no weights, no bias": lambda: Written(lambda m, x: x + m.fc(x), fc=_zero(linear(bias=False))),
    "no weights, a bias": lambda: Written(lambda m, x: x + m.fc(x), fc=_zero(linear())),
    "a gate of nothing": lambda: Written(
        lambda m, x: x + m.gate * m.fc(x), fc=linear(), gate=nn.Parameter(torch.zeros(WIDTH))
    ),
}


class Cropped(nn.Module):
    """Windows of 3 x 3 pixels on 8 x 8: the last two rows and columns are in none."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, WIDTH, 3, 3), nn.Linear(WIDTH, 5)

    def forward(self, image):
        return self.head(self.conv(image).flatten(2).transpose(1, 2))


CASES["a rest of pixels"] = Cropped


def _zero(layer):
    layer.weight.data.zero_()
    return layer


def network_of(module, channels=3):
    module = module.eval().requires_grad_(False)
    means, stds = ((0.4,), (0.3,)) if channels == 1 else (MEANS, STDS)
    return Network("small", module, Preprocessing((channels, 8, 8), means, stds), False)


def built(name):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return network_of(CASES[name](), 1 if name == "one channel" else 3)


def images(network, count=4):
    return Calibration(Calibration.noise(network.preprocessing.input_size, count, seed=0).pixels)


def of_module(network, pixels):
    """What the module says of 8-bit pixels."""
    config = network.preprocessing
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    with torch.no_grad():
        return network.module(((torch.tensor(pixels) / 255 - mean) / std)[None]).numpy()


def sqnr(wanted, got):
    noise = np.square(wanted - got).sum()
    return np.inf if noise == 0 else 10 * np.log10(np.square(wanted).sum() / noise)


def check_integers(network, graph, bits, method="minmax", least=30.0, **options):
    """Fit, lower, and compare: both executors, and the integers with the module."""
    calibration = images(network)
    quantised = METHODS[method](**options).fit(graph, calibration, Bits.parse(bits)).graph
    check_quantized(verify(quantised), network.preprocessing.input_size)
    hoisted = run_passes(quantised, HOIST)
    integer = run_passes(hoisted, LOWER)
    pixels = calibration.pixels[0]
    check_nodes(hoisted, integer, [pixels]).refuse()
    names = [node.name for node in integer.nodes]
    fast, slow = (run(integer).run(pixels, names) for run in (IntegerExecutor, ReferenceExecutor))
    for name in names:
        np.testing.assert_array_equal(fast.values[name], slow.values[name], err_msg=name)
    emit_program(integer)
    (name,) = integer.outputs
    got = integer.tensors[name].quant.to_float(fast.values[name])
    assert sqnr(of_module(network, pixels), got) > least


@pytest.mark.parametrize("name", CASES)
def test_from_the_module_to_its_integers(name):
    """That the graph is the module within 1e-4 is checked as it is imported."""
    network = built(name)
    check_integers(network, float_graph(network), "w8a8")


SIZES = {"img_size": 8, "patch_size": 4, "embed_dim": WIDTH, "num_classes": 5}


class Projected(nn.Module):
    """A product with a parameter behind the network, as CLIP's last one."""

    def __init__(self, vit):
        super().__init__()
        self.vit = vit
        self.projection = parameter(5, 5)

    def forward(self, image):
        return self.vit(image) @ self.projection


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("product", ["latent query", "projection"])
def test_constants_that_are_no_weights_under_every_method(
    product, method, quick_method, make_tiny_vit
):
    """One scale for all that is summed; it was one a row of K, -4.5 to 2.5 dB."""
    torch.manual_seed(0)
    pooled = product == "latent query"
    module = make_tiny_vit(**SIZES, global_pool="map" if pooled else "token")
    network = network_of(module if pooled else Projected(module))
    options = vars(quick_method(method))
    check_integers(network, float_graph(network), "w8a8", method, 15.0, **options)


@pytest.mark.parametrize("bits", ["w8a8", "w3a3"])
@pytest.mark.parametrize("name", ["no weights, no bias", "no weights, a bias", "a gate of nothing"])
def test_nothing_has_a_scale_of_one(name, bits):
    network = built(name)
    check_integers(network, float_graph(network), bits, least=25.0 if bits == "w8a8" else 3.0)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_fresh_layer_scale_and_a_fresh_head_under_every_method(
    method, quick_method, make_tiny_vit
):
    module = make_tiny_vit(**SIZES, init_values=1.0)
    for block in module.blocks:
        block.ls1.gamma.data.zero_()
        block.ls2.gamma.data.zero_()
    module.head.weight.data.zero_()
    network = network_of(module)
    options = vars(quick_method(method))
    check_integers(network, float_graph(network), "w8a8", method, 15.0, **options)


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_of_zeros_says_its_bias(bias):
    network = built("the channel last")
    head = network.module.head
    head.weight.data.zero_()
    if not bias:
        head.bias.data.zero_()
        integer = run_passes(
            METHODS["minmax"]().fit(float_graph(network), images(network), Bits(8, 8)).graph,
            (*HOIST, *LOWER),
        )
        run = IntegerExecutor(integer).run(images(network).pixels[0])
        assert not run.values[integer.outputs[0]].any()
    else:
        check_integers(network, float_graph(network), "w8a8", least=60.0)


def test_six_channels_need_six_means():
    with pytest.raises(SpecError, match="mean must be 6 numbers, one per channel, not 3"):
        Preprocessing((6, 8, 8), MEANS, STDS)


def test_a_module_that_returns_y_and_100_y():
    """Both are what they are: folding the factor into y's layer would scale y too."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = Patches()

        def forward(self, image):
            y = self.patches(image)
            return y, 100 * y

    torch.manual_seed(0)
    network = network_of(Both())
    try:
        graph = float_graph(network)
    except HwqError as error:
        pytest.fail(str(error))
    quantised = METHODS["minmax"]().fit(graph, images(network), Bits(8, 8)).graph
    integer = run_passes(quantised, (*HOIST, *LOWER))
    pixels = images(network).pixels[0]
    values = IntegerExecutor(integer).run(pixels).values
    small, large = (integer.tensors[name].quant.to_float(values[name]) for name in integer.outputs)
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEANS, STDS))
    with torch.no_grad():
        wanted = network.module(((torch.tensor(pixels) / 255 - mean) / std)[None])
    assert sqnr(wanted[0].numpy(), small) > 30 and sqnr(wanted[1].numpy(), large) > 30


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_modules_of_other_floats_are_converted(dtype, tmp_path, monkeypatch):
    from hwq.models.catalog import create_network

    (tmp_path / "halved_for_hwq.py").write_text(
        "import torch\nfrom timm.models.vision_transformer import VisionTransformer\n"
        "def build():\n    torch.manual_seed(0)\n"
        "    return VisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2,"
        f" num_classes=3).to({dtype})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "halved_for_hwq", raising=False)
    network = create_network("halved_for_hwq:build")
    assert {p.dtype for p in network.module.parameters()} == {torch.float32}
    assert network.preprocessing.input_size == (3, 8, 8)  # the module's own
    assert any("converted to float32" in note for note in network.notes)
    float_graph(network)


def test_cross_attention_of_64_queries_on_197_keys():
    """Each is a product of its own shape; none is that of the tokens with themselves."""
    network = built("a latent query")
    network.module.query = nn.Parameter(torch.randn(1, 64, WIDTH), requires_grad=False)
    integer = run_passes(
        METHODS["minmax"]().fit(float_graph(network), images(network), Bits(8, 8)).graph,
        (*HOIST, *LOWER),
    )
    shapes = [
        (layer.m, layer.k, layer.n)
        for layer in emit_program(integer).layers
        if layer.op == "matmul"
    ]
    assert (64, WIDTH, TOKENS) in shapes and (64, TOKENS, WIDTH) in shapes
