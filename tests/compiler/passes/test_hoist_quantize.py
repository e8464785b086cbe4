from dataclasses import replace

import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.hoist_quantize import HoistQuantize
from hwq.graph.ir import Graph, Node, Tensor
from hwq.graph.verify import verify
from hwq.quantizers.dynamic import Dynamic
from hwq.quantizers.log2 import Log2
from hwq.quantizers.uniform import Uniform
from hwq.runtime.fake_quant_executor import FakeQuantExecutor


def uniform(scale, bits=4, signed=True, zero_point=0):
    return Uniform(torch.tensor(scale), torch.tensor(zero_point), bits, signed)


def qkv(build_graph, grid, quantizers, extra=()):
    """One linear layer, cut into a part per quantizer."""
    parts = len(quantizers)
    nodes = [
        ("fc", "linear", ["image", "w"]),
        ("heads", "reshape", ["fc"], {"shape": (1, 4, parts, 2)}),
        ("parts", "permute", ["heads"], {"axes": (2, 0, 1, 3)}),
    ]
    for index, quantizer in enumerate(quantizers):
        nodes.append((f"part_{index}", "select", ["parts"], {"axis": 0, "index": index}))
        nodes.append((f"q_{index}", "quantize", [f"part_{index}"], {"quant": quantizer}))
    last = [f"q_{index}" for index in range(parts)]
    nodes += [("y", "concat", last, {"axis": 0}), *extra]
    return build_graph((1, 4, 3), {"w": grid(2 * parts, 3, reach=1)}, *nodes)


def test_a_scale_per_part_becomes_a_scale_per_channel(check_pass, build_graph, grid):
    graph = qkv(build_graph, grid, [uniform(0.125), uniform(0.25), uniform(0.0625)])
    after = check_pass(HoistQuantize(), graph, atol=0)
    assert [node.name for node in after.nodes if node.op == "quantize"] == ["fc.codes"]
    merged = after.by_name["fc.codes"].quantizer
    assert merged.scale.flatten().tolist() == [0.125] * 2 + [0.25] * 2 + [0.0625] * 2
    assert after.by_name["fc.codes"].output.quant is merged


def test_zero_points_move_along(build_graph, grid):
    quantizers = [uniform(0.125, signed=False, zero_point=zero) for zero in (3, 8)]
    graph = qkv(build_graph, grid, quantizers)
    after = run_passes(graph, [HoistQuantize()])
    merged = after.by_name["fc.codes"].quantizer
    assert merged.zero_point.flatten().tolist() == [3, 3, 8, 8]
    images = torch.rand(2, 4, 3) * 4 - 2
    wanted = FakeQuantExecutor(graph)(images)["y"]
    assert torch.equal(FakeQuantExecutor(after)(images)["y"], wanted)


def test_a_single_dynamic_quantizer_keeps_its_predictor(build_graph, grid):
    plain = qkv(build_graph, grid, [uniform(0.125)])
    dynamic = Dynamic(uniform(0.125), 3)
    corrections = Node(
        "slice", ("image",), Tensor("corrections", (1, 1, 3)), {"axis": 1, "start": 0, "stop": 1}
    )
    nodes = [
        replace(
            node,
            inputs=(*node.inputs, "corrections"),
            output=replace(node.output, quant=dynamic),
        )
        if node.op == "quantize"
        else node
        for node in plain.nodes
    ]
    graph = verify(Graph("g", plain.inputs, plain.constants, (corrections, *nodes), plain.outputs))
    after = run_passes(graph, [HoistQuantize()])
    codes = after.by_name["fc.codes"]
    assert codes.inputs == ("fc", "corrections")
    assert isinstance(codes.quantizer, Dynamic) and codes.quantizer.index == 3


@pytest.mark.parametrize(
    "case",
    [
        [uniform(0.125), uniform(0.125, bits=3)],
        [uniform(0.125), uniform(0.125, signed=False)],
        [uniform(0.125), Log2(4)],
        [Dynamic(uniform(0.125), 0), Dynamic(uniform(0.25), 1)],
    ],
    ids=["bits", "signs", "kinds", "dynamic"],
)
def test_unlike_quantizers_stay(build_graph, grid, case):
    graph = qkv(build_graph, grid, case)
    assert run_passes(graph, [HoistQuantize()]).nodes == graph.nodes


def test_product_that_something_else_reads_stays(build_graph, grid):
    graph = build_graph(
        (1, 4, 3),
        {"w": grid(2, 3)},
        ("fc", "linear", ["image", "w"]),
        ("q", "quantize", ["fc"], {"quant": uniform(0.125)}),
        ("y", "add", ["q", "fc"]),
    )
    assert run_passes(graph, [HoistQuantize()]).nodes == graph.nodes


def test_product_that_is_not_wholly_quantised_stays(build_graph, grid):
    graph = build_graph(
        (1, 4, 3),
        {"w": grid(2, 3)},
        ("fc", "linear", ["image", "w"]),
        ("first", "select", ["fc"], {"axis": 1, "index": 0}),
        ("y", "quantize", ["first"], {"quant": uniform(0.125)}),
    )
    assert run_passes(graph, [HoistQuantize()]).nodes == graph.nodes


def test_outputs_keep_their_values(build_graph, grid):
    graph = build_graph(
        (1, 4, 3),
        {"w": grid(2, 3)},
        ("fc", "linear", ["image", "w"]),
        ("q", "quantize", ["fc"], {"quant": uniform(0.125)}),
        ("y", "activation", ["q"], {"function": "gelu"}),
        outputs=("y", "fc"),
    )
    assert run_passes(graph, [HoistQuantize()]).outputs == graph.outputs
    assert run_passes(graph, [HoistQuantize()]).nodes == graph.nodes
