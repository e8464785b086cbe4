"""Networks of other libraries, built from their configurations with random weights."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hwq.api.network import float_graph
from hwq.api.simulation import lower
from hwq.arch.load import load_accelerator
from hwq.compiler.emit_program import emit_program
from hwq.graph.ops import multiply_accumulates
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.minmax import MinMax
from hwq.models.catalog import Network, Preprocessing
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.reference_executor import ReferenceExecutor
from tests.costs import cost_of
from tests.plan.checks import assert_equal_everywhere, every_tensor, planned
from tests.plan.machines import machine

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
DINO = {key: value for key, value in SMALL.items() if key != "intermediate_size"}


def transformers(name, config, **options):
    """A function that builds a network of the transformers library from its configuration."""

    def build():
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**options))

    return build


def torchvision_vit():
    from torchvision.models import VisionTransformer

    # its head is zero when it is fresh
    return VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10)


def timm_vit(**options):
    def build():
        from timm.models.vision_transformer import VisionTransformer

        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
        return VisionTransformer(**{**sizes, "num_classes": 10, "mlp_ratio": 2.0, **options})

    return build


def timm_relative_position():
    from timm.models.vision_transformer_relpos import VisionTransformerRelPos

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return VisionTransformerRelPos(**sizes, num_classes=10, rel_pos_type="mlp")


class Attention(nn.Module):
    """Attention as many write it by hand: no bias, one projection, an explicit softmax."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
        mixed = scores.softmax(-1) @ v
        return self.to_out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class HandWritten(nn.Module):
    """Patches with the channel last, normalised before the first linear layer; no convolution."""

    def __init__(self, width=32, heads=2, patch=8, classes=10):
        super().__init__()
        self.patch = patch
        inputs = 3 * patch**2
        self.embed = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.LayerNorm(width)
        )
        self.position = nn.Parameter(0.1 * torch.randn(1, 17, width))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, image):
        batch, size = image.shape[0], self.patch
        x = image.unflatten(2, (-1, size)).unflatten(4, (-1, size))
        x = x.permute(0, 2, 4, 3, 5, 1).reshape(batch, 16, -1)
        x = torch.cat([self.cls_token.repeat(batch, 1, 1), self.embed(x)], 1) + self.position
        x = x + self.attention(x)
        return self.head((x + self.mlp(x))[:, 0])


FAMILIES = {
    "vit": transformers("ViTForImageClassification", "ViTConfig", **SMALL),
    "deit": transformers("DeiTForImageClassification", "DeiTConfig", **SMALL),
    "deit with teacher": transformers(
        "DeiTForImageClassificationWithTeacher", "DeiTConfig", **SMALL
    ),
    "beit": transformers("BeitForImageClassification", "BeitConfig", **SMALL),
    "beit, relative positions": transformers(
        "BeitForImageClassification", "BeitConfig", **SMALL, use_relative_position_bias=True
    ),
    "dinov2": transformers("Dinov2ForImageClassification", "Dinov2Config", **DINO),
    "dinov2, SwiGLU": transformers(
        "Dinov2ForImageClassification", "Dinov2Config", **DINO, use_swiglu_ffn=True
    ),
    "clip vision": transformers(
        "CLIPVisionModelWithProjection", "CLIPVisionConfig", **SMALL, projection_dim=16
    ),
    "siglip vision": transformers("SiglipVisionModel", "SiglipVisionConfig", **SMALL),
    "torchvision": torchvision_vit,
    "hand-written": HandWritten,
    "timm": timm_vit(),
    "timm, attention pooling": timm_vit(global_pool="map"),
    "timm, relative positions": timm_relative_position,
    "timm, layer scale, as it is fresh": timm_vit(init_values=1e-5),
}


# products that do not depend on the image and are computed as the network is imported: of latent
# queries, and of the 49 relative positions in the small network of each of two blocks
FOLDED = {
    "siglip vision": 32 * 32,
    "timm, attention pooling": 32 * 32,
    "timm, relative positions": 2 * 49 * (2 * 128 + 128 * 2),
}


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES)
def network(request):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = request.param().eval().requires_grad_(False)
    return Network("small", module, Preprocessing((3, 32, 32)), False)


@pytest.fixture(scope="module")
def graph(network):
    """The prepared graph; that it equals the module within 1e-4 is checked as it is made."""
    return float_graph(network)


@pytest.fixture(scope="module")
def integer(graph):
    calibration = Calibration.noise((3, 32, 32), 4, seed=0)
    return lower(MinMax().fit(graph, calibration, Bits(8, 8)))


def test_integers_equal_the_reference_on_every_tensor(integer):
    names = [node.name for node in integer.nodes]
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    fast, slow = (kind(integer).run(pixels, names) for kind in (IntegerExecutor, ReferenceExecutor))
    for name in names:
        np.testing.assert_array_equal(fast.values[name], slow.values[name], err_msg=name)
        assert fast.values[name].dtype == integer.tensors[name].dtype, name
    assert fast.saturations == slow.saturations


def test_integers_are_near_the_float_network(network, graph, integer):
    config = network.preprocessing
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    with torch.no_grad():
        result = network.module(((torch.tensor(pixels) / 255 - mean) / std)[None])
    wanted = next(x for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor))
    name = integer.outputs[0]
    got = integer.tensors[name].quant.to_float(IntegerExecutor(integer).run(pixels).values[name])
    signal, noise = wanted.square().sum().item(), np.square(wanted.numpy() - got).sum()
    assert noise <= 0.1 * signal  # the logits of fresh heads are small differences


def test_multiply_accumulates_are_those_that_torch_counts(network, graph, request, monkeypatch):
    counter = FlopCounterMode(display=False)
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)  # it is not counted
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network.module(torch.zeros(1, 3, 32, 32))
    shapes = [([graph.shape(name) for name in node.inputs], node) for node in graph.nodes]
    ours = sum(multiply_accumulates(node.op, inputs, node.output.shape) for inputs, node in shapes)
    ours += FOLDED.get(request.node.callspec.id, 0)
    assert 2 * ours == counter.get_total_flops()


def test_its_plan_computes_the_same(integer):
    program = emit_program(integer)
    small = machine(4, 4, (4, 4, 8), rate=20)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    wanted = every_tensor(integer, pixels)
    assert_equal_everywhere(planned(program, small), program, small, pixels, wanted)


def test_it_has_a_cost(integer):
    program = emit_program(integer)
    cost = cost_of(program, load_accelerator("edge_16x16"))
    assert cost.totals.cycles > 0
    assert all(layer.cycles >= 0 and layer.energy_pj.total > 0 for layer in cost.layers)
    macs = sum(layer.macs for layer in program.layers if layer.op == "matmul")
    assert cost.totals.macs == macs > 0
