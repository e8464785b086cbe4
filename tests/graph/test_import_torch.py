import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as attention

from hwq.errors import ImportGraphError
from hwq.graph.import_torch import import_torch
from hwq.graph.text import to_text
from hwq.models.catalog import create_network
from hwq.runtime.float_executor import TorchExecutor

TOLERANCE = 1e-4  # of logits, float32

VARIANTS = {
    "plain": {},
    "no class token, average pool": {"class_token": False, "global_pool": "avg"},
    "layer scale": {"init_values": 0.1},
    "qk norm": {"qk_norm": True},
    "register tokens": {"reg_tokens": 3},
    "no embed class": {"reg_tokens": 2, "no_embed_class": True},
    "pre norm": {"pre_norm": True},
    "no qkv bias": {"qkv_bias": False},
    "average pool and fc norm": {"global_pool": "avg", "fc_norm": True},
    "no head": {"num_classes": 0},
}


def difference(module, shape, seed=0, batch=2):
    """Largest absolute difference between module and graph on random images."""
    images = torch.randn((batch, *shape), generator=torch.Generator().manual_seed(seed))
    graph = import_torch(module, (1, *shape), "network")
    with torch.no_grad():
        wanted = module(images)
        return (TorchExecutor(graph)(images)[graph.outputs[0]] - wanted).abs().max().item()


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_graph_equals_module(make_tiny_vit, options):
    assert difference(make_tiny_vit(depth=1, **options), (3, 32, 32)) <= TOLERANCE


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}], ids=["plain", "qk norm"])
@pytest.mark.parametrize("fused", [True, False])
def test_fused_attention_equals_the_written_out_one(make_tiny_vit, options, fused):
    module = make_tiny_vit(depth=1, **options)
    for block in module.blocks:
        block.attn.fused_attn = fused
    assert difference(module, (3, 32, 32)) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "deit_t",
        "deit_tiny_distilled_patch16_224",
        "vit_small_patch16_36x1_224",
        "vit_tiny_patch16_224",
        "vit_base_patch32_clip_224",
        "vit_small_patch14_reg4_dinov2",
        "vit_medium_patch16_gap_240",
    ],
)
def test_timm_networks(name):
    network = create_network(name)
    assert difference(network.module, network.preprocessing.input_size, batch=1) <= TOLERANCE


def test_names_come_from_module_paths(tiny_graph):
    linear = [node.name for node in tiny_graph.nodes if node.op == "linear"]
    assert linear == [
        *(
            f"blocks.{block}.{layer}"
            for block in (0, 1)
            for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        ),
        "head",
    ]
    assert tiny_graph.by_name["patch_embed.proj"].op == "conv2d"
    assert tiny_graph.by_name["blocks.1.norm2"].op == "layer_norm"
    assert tiny_graph.by_name["blocks.1.mlp.act"].attrs == {"function": "gelu"}
    assert tiny_graph.by_name["blocks.0.attn.matmul_1"].op == "matmul"


def test_constants_are_named_as_in_the_state_dict(tiny_graph, tiny_module):
    state = tiny_module.state_dict()
    assert set(tiny_graph.constants) == set(state)
    for name, value in tiny_graph.constants.items():
        assert torch.equal(torch.tensor(value), state[name])


def test_the_same_module_gives_the_same_text(tiny_module, tiny_graph):
    assert to_text(import_torch(tiny_module, (1, 3, 32, 32), "tiny")) == to_text(tiny_graph)


def wrap(function):
    """Return a module whose child `inner.act` does `function`."""

    class Act(nn.Module):
        def forward(self, x):
            return function(x)

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = Act()

        def forward(self, x):
            return self.act(x)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, x):
            return self.inner(x)

    return Outer()


@pytest.mark.parametrize(
    ("function", "operation", "reason"),
    [
        (torch.erf, "erf.default", "it has no counterpart in the graph"),
        (lambda x: x / x, "div.Tensor", "it divides by a tensor that depends on the image"),
        (lambda x: x.softmax(1), "softmax.int", "it is over axis 1 of 3, not the last"),
        (lambda x: x.mean((1, 2)), "mean.dim", r"it is over axes \[1, 2\] of 3; only one is known"),
        (
            lambda x: x[:, :3][:, ::2],
            "slice.Tensor",
            "its step is 2: 2 groups of as many are more than 3",
        ),
        (
            lambda x: attention(x, x, x, is_causal=True),
            "scaled_dot_product_attention.default",
            "its argument is_causal=True has no counterpart in the graph",
        ),
    ],
    ids=["erf", "div", "softmax", "mean", "slice", "causal"],
)
def test_what_cannot_be_imported_is_named_with_its_module(function, operation, reason):
    wanted = rf"^operation aten\.{operation} in module 'inner\.act' of model 'bad': {reason}$"
    with pytest.raises(ImportGraphError, match=wanted):
        import_torch(wrap(function), (1, 4, 4), "bad")


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (nn.LayerNorm((3, 4)), (1, 3, 4), "it normalises over more than the last axis"),
        (
            nn.Conv2d(4, 4, 2, groups=2),
            (1, 4, 4, 4),
            "its argument groups=2 has no counterpart in the graph",
        ),
        (nn.Conv2d(4, 4, 3, padding="same"), (1, 4, 4, 4), "it pads its input"),
    ],
    ids=["layer_norm", "groups", "padding"],
)
def test_layers_with_unknown_options(layer, shape, reason):
    with pytest.raises(ImportGraphError, match=rf"in module '0' of model 'bad': {reason}$"):
        import_torch(nn.Sequential(layer), shape, "bad")


def test_a_module_that_torch_cannot_export():
    with pytest.raises(ImportGraphError, match=r"^torch cannot export model 'bad': \S"):
        import_torch(wrap(lambda x: x * 2 if x.sum() > 0 else x), (1, 4), "bad")


def test_number_as_operand_becomes_a_constant():
    graph = import_torch(wrap(lambda x: (x + 1.5) * 2.0), (1, 4), "small")
    assert sorted(value.item() for value in graph.constants.values()) == [1.5, 2.0]
    assert all(name.startswith("inner.act.") for name in graph.constants)
    out = TorchExecutor(graph)(torch.ones(3, 4))[graph.outputs[0]]
    torch.testing.assert_close(out, torch.full((3, 4), 5.0))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cat([part for part in x.split(2, dim=1)], 1),
        lambda x: torch.cat(list(x.chunk(2, dim=-1)), -1),
        lambda x: x.flatten(1).unflatten(1, (6, 4)).unsqueeze(1).squeeze(1),
        lambda x: x[:, 1:3] + x[:, -1:].expand(-1, 2, -1),
        lambda x: x.transpose(1, 2).contiguous() / 4,
        lambda x: x.mean(1, keepdim=True) + x.select(1, -1)[:, None],
        lambda x: nn.functional.scaled_dot_product_attention(
            x, x, x, attn_mask=x @ x.transpose(1, 2), scale=2
        ),
    ],
)
def test_operations_written_in_a_forward(function):
    assert difference(wrap(function), (6, 4)) <= 1e-5


def test_torch_writes_nothing_around_a_failed_export(capfd):
    with pytest.raises(ImportGraphError) as caught:
        import_torch(wrap(lambda x: x * 2 if x.sum() > 0 else x), (1, 4), "bad")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_names_that_the_graph_uses_itself_are_escaped():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))
            self.a, self.acc = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.a(self.acc(nn.functional.linear(x, self.weight)))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.a, self.fc = nn.Linear(4, 4), nn.Linear(4, 4), Inner()
            self.b = nn.Parameter(torch.randn(4))
            self.register_buffer("scale", torch.randn(4))

        def forward(self, x):
            return self.fc(self.a(self.image(x)) + self.b * self.scale)

    module = Outer()
    graph = import_torch(module, (1, 5, 4), "names")
    linear = [node.name for node in graph.nodes if node.op == "linear"]
    assert linear == ["image_", "a_", "fc", "fc.acc_", "fc.a_"]
    assert difference(module, (5, 4)) <= 1e-5
