from math import e, log2

import pytest
import torch

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.base_two_softmax import BaseTwoSoftmax


def test_log2_e_goes_into_the_scores(check_pass, build_graph):
    graph = build_graph(
        (1, 4, 4),
        {},
        ("scores", "matmul", ["image", "image"], {"alpha": 0.5}),
        ("y", "softmax", ["scores"], {"base": "e"}),
    )
    after = check_pass(BaseTwoSoftmax(), graph)
    assert after.by_name["y"].attrs["base"] == 2
    assert after.by_name["scores"].attrs["alpha"] == pytest.approx(0.5 * log2(e))


def multiplied(after, softmax="y"):
    """The scores' factor, where it stands before the softmax."""
    (node,) = [n for n in after.nodes if n.op == "mul"]
    assert after.by_name[softmax].inputs == (node.name,)
    return after.constants[node.inputs[1]].item()


def check(graph):
    """The passed graph, whose softmaxes are in base 2 and whose results have not changed."""
    from hwq.runtime.float_executor import TorchExecutor

    after = run_passes(graph, [BaseTwoSoftmax()])
    assert {n.attrs["base"] for n in after.nodes if n.op == "softmax"} == {2}
    images = torch.rand((4, *graph.inputs[0].shape[1:]), generator=torch.Generator().manual_seed(0))
    old, new = TorchExecutor(graph)(images), TorchExecutor(after)(images)
    for name in graph.outputs:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=1e-6)
    return after


SCORES = ("scores", "matmul", ["image", "image"], {"alpha": 0.5})


def test_scores_that_others_read_keep_their_size(build_graph):
    softmax = ("p", "softmax", ["scores"], {"base": "e"})
    graph = build_graph((1, 4, 4), {}, SCORES, softmax, ("y", "add", ["p", "scores"]))
    assert multiplied(check(graph), "p") == pytest.approx(log2(e))


def test_scores_that_the_network_returns_keep_their_size(build_graph):
    softmax = ("y", "softmax", ["scores"], {"base": "e"})
    graph = build_graph((1, 4, 4), {}, SCORES, softmax, outputs=("y", "scores"))
    assert multiplied(check(graph)) == pytest.approx(log2(e))


def test_scores_of_something_else_are_multiplied(build_graph):
    graph = build_graph((1, 4, 4), {}, ("y", "softmax", ["image"], {"base": "e"}))
    assert multiplied(check(graph)) == pytest.approx(log2(e))


def test_a_relative_position_bias_is_scaled_with_the_scores(build_graph, grid):
    graph = build_graph(
        (1, 4, 4),
        {"bias": grid(1, 4, 4)},
        SCORES,
        ("biased", "add", ["scores", "bias"]),
        ("y", "softmax", ["biased"], {"base": "e"}),
    )
    after = check(graph)
    assert [n.op for n in after.nodes] == ["matmul", "add", "softmax"]
    assert after.by_name["scores"].attrs["alpha"] == pytest.approx(0.5 * log2(e))


def test_a_bias_of_two_layers_is_scaled_in_both(build_graph, grid):
    graph = build_graph(
        (1, 4, 4),
        {"bias": grid(1, 4, 4)},
        SCORES,
        ("biased", "add", ["scores", "bias"]),
        ("p", "softmax", ["biased"], {"base": "e"}),
        ("more", "matmul", ["p", "image"], {"alpha": 1.0}),
        ("again", "add", ["more", "bias"]),
        ("y", "softmax", ["again"], {"base": "e"}),
    )
    check(graph)
