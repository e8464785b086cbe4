import numpy as np
import pytest

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.fold_mul import FoldMul


def test_layer_scale_goes_into_the_weight(check_pass, build_graph, grid):
    graph = build_graph(
        (1, 5, 4),
        {"w": grid(6, 4), "b": grid(6, seed=1), "gamma": grid(6, seed=2)},
        ("fc", "linear", ["image", "w", "b"]),
        ("scaled", "mul", ["fc", "gamma"]),
        ("y", "activation", ["scaled"], {"function": "gelu"}),
    )
    after = check_pass(FoldMul(), graph, name="fold_mul_into_weight")
    assert [node.op for node in after.nodes] == ["linear", "activation"]


def test_factor_on_queries_goes_into_alpha(check_pass, build_graph):
    graph = build_graph(
        (1, 5, 4),
        {"c": [0.5]},
        ("q", "mul", ["image", "c"]),
        ("k", "permute", ["image"], {"axes": (0, 2, 1)}),
        ("y", "matmul", ["q", "k"], {"alpha": 0.25}),
    )
    after = check_pass(FoldMul(), graph, name="fold_mul_into_next_matmul")
    assert after.by_name["y"].attrs["alpha"] == 0.125


def test_factor_on_both_operands_counts_twice(check_pass, build_graph):
    graph = build_graph(
        (1, 5, 4),
        {"c": [0.5]},
        ("q", "mul", ["image", "c"]),
        ("heads", "reshape", ["q"], {"shape": (1, 5, 2, 2)}),
        ("left", "permute", ["heads"], {"axes": (0, 2, 1, 3)}),
        ("right", "permute", ["heads"], {"axes": (0, 2, 3, 1)}),
        ("y", "matmul", ["left", "right"], {"alpha": 1.0}),
    )
    check_pass(FoldMul(), graph, name="fold_mul_into_both_operands")


def test_factor_on_a_square_counts_twice(check_pass, build_graph):
    graph = build_graph(
        (1, 4, 4),
        {"c": [0.5]},
        ("q", "mul", ["image", "c"]),
        ("y", "matmul", ["q", "q"], {"alpha": 1.0}),
    )
    check_pass(FoldMul(), graph, name="fold_mul_into_square")


def test_factor_on_scores_goes_into_alpha(check_pass, build_graph):
    graph = build_graph(
        (1, 4, 4),
        {"c": [0.25]},
        ("scores", "matmul", ["image", "image"], {"alpha": 2.0}),
        ("scaled", "mul", ["c", "scores"]),
        ("y", "softmax", ["scaled"], {"base": "e"}),
    )
    after = check_pass(FoldMul(), graph, name="fold_mul_into_matmul_before")
    assert after.by_name["scores"].attrs["alpha"] == 0.5


def test_several_factors_in_one_graph(check_pass, build_graph, grid):
    graph = build_graph(
        (1, 4, 4),
        {"c": [0.25], "w": grid(4, 4), "gamma": grid(4, seed=1), "half": [0.5]},
        ("scores", "matmul", ["image", "image"], {"alpha": 2.0}),
        ("scaled", "mul", ["scores", "c"]),
        ("p", "softmax", ["scaled"], {"base": "e"}),
        ("fc", "linear", ["p", "w"]),
        ("gained", "mul", ["fc", "gamma"]),
        ("y", "mul", ["gained", "half"]),
    )
    after = check_pass(FoldMul(), graph, name="fold_mul_several")
    assert not any(node.op == "mul" for node in after.nodes)


@pytest.mark.parametrize(
    "nodes",
    [
        # the product is read elsewhere as well
        [
            ("fc", "linear", ["image", "w"]),
            ("scaled", "mul", ["fc", "gamma"]),
            ("y", "add", ["scaled", "fc"]),
        ],
        # a factor per token fits no weight
        [("fc", "linear", ["image", "w"]), ("y", "mul", ["fc", "per_token"])],
        # no matrix product near
        [("g", "activation", ["image"], {"function": "gelu"}), ("y", "mul", ["g", "half"])],
        # a factor that is not constant
        [("y", "mul", ["image", "image"])],
        # the product of a matmul by a vector
        [("m", "matmul", ["image", "square"], {"alpha": 1.0}), ("y", "mul", ["m", "gamma"])],
    ],
    ids=["shared", "per token", "far", "activations", "vector"],
)
def test_what_does_not_fit_stays(build_graph, grid, nodes):
    constants = {
        "w": grid(4, 4),
        "square": grid(1, 4, 4),
        "gamma": grid(4, seed=1),
        "per_token": grid(5, 1),
        "half": np.array([0.5]),
    }
    used = {name for node in nodes for name in node[2]}
    kept = {name: value for name, value in constants.items() if name in used}
    graph = build_graph((1, 5, 4), kept, *nodes)
    assert any(node.op == "mul" for node in run_passes(graph, [FoldMul()]).nodes)
    assert run_passes(graph, [FoldMul()]).nodes == graph.nodes


def test_the_mean_of_two_heads_goes_into_both_weights(check_pass, build_graph, grid):
    graph = build_graph(
        (1, 4),
        {"v": grid(6, 4), "w": grid(6, 4, seed=1), "b": grid(6, seed=2), "half": [0.5]},
        ("head", "linear", ["image", "v", "b"]),
        ("head_dist", "linear", ["image", "w"]),
        ("sum", "add", ["head", "head_dist"]),
        ("mean", "mul", ["sum", "half"]),
    )
    after = check_pass(FoldMul(), graph, name="fold_mul_into_two_heads")
    assert [node.op for node in after.nodes] == ["linear", "linear", "add"]
