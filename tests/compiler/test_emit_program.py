from collections import Counter
from dataclasses import dataclass, replace
from math import prod

import pytest

from hwq.compiler.emit_program import emit_program
from hwq.compiler.program import MatmulLayer, VectorLayer
from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node, Tensor
from hwq.graph.ops import OPS, multiply_accumulates
from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from hwq.numerics.fixed_point import FixedPoint


@pytest.fixture(scope="module", params=["minmax", "repq_vit"])
def lowered(request, tiny_prepared, tiny_calibration, lower):
    fitted = METHODS[request.param]().fit(tiny_prepared, tiny_calibration, Bits.parse("w4a8"))
    return lower(fitted.graph)


@pytest.fixture(scope="module")
def program(lowered):
    return emit_program(lowered)


def layer(program, name):
    return next(layer for layer in program.layers if layer.name == name)


def test_macs_equal_the_float_graphs(program, tiny_prepared):
    wanted = sum(
        multiply_accumulates(
            node.op, [tiny_prepared.shape(name) for name in node.inputs], node.output.shape
        )
        for node in tiny_prepared.nodes
    )
    assert program.macs == wanted
    # per block qkv, proj, fc1, fc2 and two products in each of two heads; patches; head
    assert program.matmuls == 2 * (4 + 2 * 2) + 2


def test_every_node_but_movement_is_a_layer(program, lowered):
    work = [n for n in lowered.nodes if not OPS[n.op].movement]
    written = [layer.out.tensor for layer in program.layers]
    # a concatenation writes each of its inputs
    assert len(written) == len(work) + 1
    assert [*dict.fromkeys(written)] == [node.name for node in work]


def test_shapes_of_a_linear_layer(program):
    qkv = layer(program, "blocks.0.attn.qkv")
    assert (qkv.m, qkv.k, qkv.n, qkv.count) == (17, 32, 96, 1)
    assert (qkv.a.bits, qkv.b.bits, qkv.acc_bits, qkv.out.bits) == (8, 4, 32, 32)
    assert qkv.b.constant and not qkv.a.constant
    assert qkv.b.elements == 96 * 32


def test_heads_are_instances_of_one_product(program, lowered):
    scores, values = (layer(program, f"blocks.0.attn.{name}") for name in ("matmul", "matmul_1"))
    assert (scores.m, scores.k, scores.n, scores.count) == (17, 16, 17, 2)
    assert (values.m, values.k, values.n, values.count) == (17, 17, 16, 2)
    assert {scores.a.tensor, scores.b.tensor} == {"blocks.0.attn.qkv.codes"}
    form = lowered.by_name["blocks.0.attn.matmul_1.acc"].attrs["form"]
    assert values.pe.kind == form.pe and values.planes == len(form.plane_weights)
    assert values.out.bits == 32 * values.planes


def test_movement_is_free(program):
    tensors = {operand.tensor for layer in program.layers for operand in layer.inputs}
    assert not any("reshape" in name or "permute" in name or "select" in name for name in tensors)
    assert layer(program, "patch_embed.proj.linear").a.tensor == "image"
    assert layer(program, "head.a").inputs[0].tensor == "norm"


def test_a_reader_of_a_slice_reads_its_elements_only(program):
    assert layer(program, "head.a").inputs[0].elements == 32


def test_epilogues_are_fused_and_rows_are_not(program):
    fused = {one.name for one in program.layers if isinstance(one, VectorLayer) and one.fused}
    assert "blocks.0.attn.qkv.codes" in fused
    assert {"blocks.0.mlp.act", "blocks.0.mlp.fc2.a", "blocks.0.add_1"} <= fused
    for block in (0, 1):
        assert f"blocks.{block}.attn.softmax" not in fused
        assert f"blocks.{block}.norm1" not in fused


def test_layers_that_share_a_stem_say_what_they_do(program):
    names = [layer.name for layer in program.layers]
    assert "blocks.0.attn.proj" in names and "blocks.0.attn.proj.requantize" in names
    assert len(set(names)) == len(names)


def test_rows_and_length(program):
    softmax = layer(program, "blocks.0.attn.softmax")
    assert (softmax.op, softmax.rows, softmax.length) == ("softmax", 2 * 17, 17)
    norm = layer(program, "blocks.0.norm1")
    assert (norm.op, norm.rows, norm.length) == ("layer_norm", 17, 32)


def test_operands_are_as_large_as_their_tensors(program, lowered):
    written = Counter()
    for layer in program.layers:
        assert layer.out.size == prod(lowered.shape(layer.out.tensor)), layer.name
        written[layer.out.tensor] += layer.out.elements
    for tensor, elements in written.items():
        assert elements == prod(lowered.shape(tensor)), tensor


def test_predicted_scales_are_paid_for(tiny_prepared, tiny_calibration, lower):
    noise = replace(tiny_calibration, synthetic=True)
    fitted = METHODS["scalepredictor"](base="minmax").fit(tiny_prepared, noise, Bits(8, 8))
    lowered = lower(fitted.graph)
    program = emit_program(lowered)
    names = [layer.name for layer in program.layers]
    ops = [layer.op for layer in program.layers]
    assert ops.count("range_extract") == 2
    assert ops.count("scale_predictor") == 1
    predictor = layer(program, "scale_predictor")
    assert predictor.out.size == lowered.by_name["scale_predictor"].attrs["unit"].scales
    # both taps store their ranges where the predictor reads them
    (ranges,) = {one.out.tensor for one in program.layers if one.op == "range_extract"}
    assert predictor.inputs[0].tensor == ranges
    rescaled = [one for one in program.layers if one.op == "rescale"]
    assert len(rescaled) == sum(
        getattr(node.attrs.get("unit"), "factor", None) is not None for node in lowered.nodes
    )
    for one in rescaled:
        stem = one.name.removesuffix(".rescale").removesuffix(".codes")
        assert one.inputs[0].tensor == "scale_predictor"
        product = next((i for i, n in enumerate(names) if n == stem), len(names))
        if isinstance(program.layers[product], MatmulLayer):
            assert names.index(one.name) < product, "the multipliers must be there in time"


def test_other_operations_have_no_place(tiny_prepared):
    with pytest.raises(GraphError, match=r"^y: conv2d has no place in a program$"):
        image = replace(tiny_prepared.inputs[0], dtype="uint8", quant=FixedPoint(8, 0, False))
        node = Node("conv2d", ("image", "image"), Tensor("y", image.shape))
        emit_program(Graph("g", (image,), {}, (node,), ("y",)))


def test_a_spec_without_a_unit_is_refused(lowered):
    """It would be priced as if it were another."""

    @dataclass(frozen=True)
    class Magic:
        """A user's unit."""

    name = "blocks.0.mlp.act"
    nodes = [
        replace(node, attrs={**node.attrs, "unit": Magic()}) if node.name == name else node
        for node in lowered.nodes
    ]
    with pytest.raises(
        GraphError, match=r"^blocks\.0\.mlp\.act \(activation\): Magic belongs to no unit"
    ):
        emit_program(replace(lowered, nodes=tuple(nodes)))


def test_a_vector_layer_works_on_all_it_reads(make_tiny_vit, tiny_calibration, lower):
    """A mean reads every token, though it writes one."""
    from hwq.compiler.passes.base import run_passes
    from hwq.compiler.pipelines import prepare
    from hwq.graph.import_torch import import_torch

    module = make_tiny_vit(depth=1, class_token=False, global_pool="avg")
    graph = run_passes(
        import_torch(module, (1, 3, 32, 32), "tiny"), prepare((0.5,) * 3, (0.5,) * 3)
    )
    program = emit_program(
        lower(METHODS["minmax"]().fit(graph, tiny_calibration, Bits(8, 8)).graph)
    )
    assert any("mean" in one.name or "pool" in one.name for one in program.layers)
    for one in program.layers:
        if isinstance(one, VectorLayer) and one.op not in ("scale_predictor", "rescale"):
            read = max(i.elements for i in one.inputs if not i.constant)
            assert one.elements >= read or one.op == "encode", one.name
