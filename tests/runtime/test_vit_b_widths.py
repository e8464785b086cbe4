"""The shapes and widths at which other tools' logarithmic paths had never been run."""

import pytest
import torch
from numpy.testing import assert_array_equal

from hwq.compiler.emit_program import emit_program
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER, prepare
from hwq.graph.import_torch import import_torch
from hwq.methods.base import Bits
from hwq.methods.calibration import Calibration
from hwq.methods.catalog import METHODS
from hwq.numerics.pe import SHIFT, SHIFT_PARITY
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.node_check import check_nodes
from hwq.runtime.reference_executor import ReferenceExecutor

OPTIONS = {"minmax": {"softmax": "log2"}, "is_vit": {"iterations": 1, "batch": 1}}
OPTIONS["adfq_vit"] = OPTIONS["is_vit"]


@pytest.fixture(scope="module")
def images():
    return Calibration(Calibration.noise((3, 224, 224), 2, seed=0).pixels)


@pytest.fixture(scope="module")
def vit_b(make_tiny_vit):
    """Return one block of ViT-B."""
    module = make_tiny_vit(
        img_size=224, patch_size=16, embed_dim=768, depth=1, num_heads=12, mlp_ratio=4.0
    )
    generator = torch.Generator().manual_seed(0)
    for value in module.parameters():
        if value.ndim > 1:
            # as wide as a trained network's: the bound of an accumulator sums magnitudes
            value.data = 0.03 * torch.randn(value.shape, generator=generator)
    imported = import_torch(module, (1, 3, 224, 224), "vit_b")
    graph = getattr(imported, "graph", imported)
    return run_passes(graph, prepare((0.5,) * 3, (0.5,) * 3))


@pytest.mark.parametrize("bits", ["w8a8", "w7a7", "w2a2"])
@pytest.mark.parametrize("method", ["minmax", "repq_vit", "is_vit", "adfq_vit"])
def test_logarithmic_codes_of_vit_b_are_the_fake_quant_graph_s(vit_b, images, method, bits):
    fitter = METHODS[method](**OPTIONS.get(method, {}))
    hoisted = run_passes(fitter.fit(vit_b, images, Bits.parse(bits)).graph, HOIST)
    integer = run_passes(hoisted, LOWER)
    kinds = {node.attrs["form"].pe for node in integer.nodes if "form" in node.attrs}
    assert kinds & {SHIFT, SHIFT_PARITY}
    check = check_nodes(hoisted, integer, images.pixels[:1])
    check.refuse()
    assert not check.unchecked
    worst = min(check.figures.values(), key=lambda node: node.format_db)
    assert worst.format_db > 40, worst


def test_exponents_end_where_an_accumulator_would(vit_b, images):
    """3,072 products of a code 1 << 15 and an 8-bit weight leave 32 bits, those of 1 << 12 not."""
    fitted = METHODS["adfq_vit"](**OPTIONS["adfq_vit"]).fit(vit_b, images, Bits.parse("w8a8")).graph
    quantizers = {node.name: node.output.quant for node in fitted.nodes if node.op == "quantize"}
    assert quantizers["blocks.0.mlp.fc2.a"].max_exponent == 12
    assert quantizers["blocks.0.attn.matmul_1.a"].max_exponent == 15  # 197 tokens
    integer = run_passes(fitted, [*HOIST, *LOWER])
    names = ["blocks.0.mlp.fc2.acc", "blocks.0.mlp.fc2", integer.outputs[0]]
    fast, slow = (
        run(integer).run(images.pixels[0], names).values
        for run in (IntegerExecutor, ReferenceExecutor)
    )
    for name in names:
        assert_array_equal(fast[name], slow[name], name)


@pytest.mark.parametrize("method", ["minmax", "repq_vit", "is_vit", "adfq_vit"])
def test_more_than_511_tokens(method, make_tiny_vit):
    """577 products of a probability code 1 << 15 and an 8-bit value leave 32 bits."""
    module = make_tiny_vit(img_size=96, patch_size=4, embed_dim=8, depth=1, num_heads=1)
    graph = run_passes(
        import_torch(module, (1, 3, 96, 96), "tokens"), prepare((0.5,) * 3, (0.5,) * 3)
    )
    images = Calibration(Calibration.noise((3, 96, 96), 1, seed=0).pixels)
    fitted = METHODS[method](**OPTIONS.get(method, {})).fit(graph, images, Bits(8, 8)).graph
    integer = run_passes(fitted, [*HOIST, *LOWER])
    form = integer.by_name["blocks.0.attn.matmul_1.acc"].attrs["form"]
    assert form.value_table().max() <= 181 * (1 << 14)
    names = ["blocks.0.attn.matmul_1.acc", integer.outputs[0]]
    fast, slow = (
        run(integer).run(images.pixels[0], names).values
        for run in (IntegerExecutor, ReferenceExecutor)
    )
    for name in names:
        assert_array_equal(fast[name], slow[name], name)


def test_integers_of_vit_b_at_eight_bits_are_the_reference_s(vit_b, images):
    fitted = METHODS["repq_vit"]().fit(vit_b, images, Bits.parse("w8a8")).graph
    integer = run_passes(fitted, [*HOIST, *LOWER])
    names = [node.name for node in integer.nodes if "acc" in node.name or "matmul" in node.name]
    fast, slow = (
        run(integer).run(images.pixels[0], names).values
        for run in (IntegerExecutor, ReferenceExecutor)
    )
    assert any(name.endswith("matmul_1.acc") for name in names)
    for name in names:
        assert_array_equal(fast[name], slow[name], name)


def test_multiply_accumulates_of_attention(vit_b, images):
    integer = run_passes(
        METHODS["minmax"]().fit(vit_b, images, Bits.parse("w8a8")).graph, [*HOIST, *LOWER]
    )
    layers = {layer.name: layer for layer in emit_program(integer).layers}
    scores, context = layers["blocks.0.attn.matmul"], layers["blocks.0.attn.matmul_1"]
    assert (scores.count, scores.m, scores.n, scores.k) == (12, 197, 197, 64)
    assert (context.count, context.m, context.n, context.k) == (12, 197, 64, 197)
    assert scores.macs == context.macs == 12 * 197 * 197 * 64 == 29_805_312
