from math import e, log2

import pytest

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


def test_scores_that_others_read_stay(build_graph):
    graph = build_graph(
        (1, 4, 4),
        {},
        ("scores", "matmul", ["image", "image"], {"alpha": 0.5}),
        ("p", "softmax", ["scores"], {"base": "e"}),
        ("y", "add", ["p", "scores"]),
    )
    assert run_passes(graph, [BaseTwoSoftmax()]).nodes == graph.nodes


def test_scores_of_something_else_stay(build_graph):
    graph = build_graph((1, 4, 4), {}, ("y", "softmax", ["image"], {"base": "e"}))
    assert run_passes(graph, [BaseTwoSoftmax()]).nodes == graph.nodes
