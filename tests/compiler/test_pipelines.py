import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import prepare
from hwq.graph.import_torch import import_torch
from hwq.graph.text import to_text
from hwq.methods.base import Bits
from hwq.methods.minmax import MinMax
from hwq.runtime.float_executor import TorchExecutor

MEAN = STD = (0.5, 0.5, 0.5)


def test_golden_text_of_the_prepared_network(tiny_prepared, golden):
    golden("graph/tiny_vit_prepared.txt", to_text(tiny_prepared))


def test_prepared_network_gives_the_modules_logits_from_pixels(tiny_module, tiny_prepared):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), generator=generator).float()
    with torch.no_grad():
        wanted = tiny_module((pixels / 255 - 0.5) / 0.5)
        logits = TorchExecutor(tiny_prepared)(pixels)["head"]
    assert (logits - wanted).abs().max() <= 1e-4


def test_only_what_the_machine_has_is_left(make_tiny_vit):
    module = make_tiny_vit(qk_norm=True, init_values=0.1, reg_tokens=2, depth=1)
    for block in module.blocks:
        block.attn.fused_attn = False
    graph = import_torch(module, (1, 3, 32, 32), "tiny")
    prepared = run_passes(graph, prepare(MEAN, STD))
    ops = {node.op for node in graph.nodes}
    left = {node.op for node in prepared.nodes}
    assert {"conv2d", "mul"} <= ops
    assert not {"conv2d", "mul"} & left
    bases = {node.attrs["base"] for node in prepared.nodes if node.op == "softmax"}
    assert bases == {2}


def test_hoisting_leaves_one_quantize_per_qkv(tiny_prepared, tiny_calibration, lower):
    quantised = MinMax().fit(tiny_prepared, tiny_calibration, Bits(8, 8)).graph
    lowered = lower(quantised)
    qkv = [node.name for node in lowered.nodes if node.name.startswith("blocks.0.attn.qkv")]
    assert qkv == ["blocks.0.attn.qkv.a", "blocks.0.attn.qkv.acc", "blocks.0.attn.qkv.codes"]
