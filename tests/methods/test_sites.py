import torch

from hwq.methods.sites import Site, find_sites, insert_quantizers
from hwq.quantizers.uniform import Uniform


def test_sites_of_one_block(tiny_prepared):
    sites = {site.name: site for site in find_sites(tiny_prepared)}
    producers = {
        name.removeprefix("blocks.0."): site.producer
        for name, site in sites.items()
        if name.startswith("blocks.0.")
    }
    assert producers == {
        "attn.qkv.a": "layer_norm",
        "attn.qkv.b": "weight",
        "attn.matmul.a": "linear",
        "attn.matmul.b": "linear",
        "attn.matmul_1.a": "softmax",
        "attn.matmul_1.b": "linear",
        "attn.proj.a": "matmul",
        "attn.proj.b": "weight",
        "mlp.fc1.a": "layer_norm",
        "mlp.fc1.b": "weight",
        "mlp.fc2.a": "gelu",
        "mlp.fc2.b": "weight",
    }
    assert sites["patch_embed.proj.linear.a"].producer == "input"
    assert sites["head.a"] == Site("head", "a", "select", "layer_norm", False)


def test_quantizers_stand_before_their_products(tiny_prepared):
    quantizer = Uniform(torch.tensor(0.5), torch.tensor(0), 8, signed=True)
    sites = find_sites(tiny_prepared)
    graph = insert_quantizers(tiny_prepared, {site.name: quantizer for site in sites})
    assert len(graph.nodes) == len(tiny_prepared.nodes) + len(sites)
    product = graph.by_name["blocks.0.mlp.fc1"]
    assert product.inputs == (
        "blocks.0.mlp.fc1.a",
        "blocks.0.mlp.fc1.b",
        "blocks.0.mlp.fc1.bias",
    )
    node = graph.by_name["blocks.0.mlp.fc1.b"]
    assert node.inputs == ("blocks.0.mlp.fc1.weight",)
    assert node.output.quant is quantizer and node.output.shape == (64, 32)
