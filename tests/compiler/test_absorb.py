import numpy as np
import pytest

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.fold_mul import FoldMul


def run(graph, seed=0):
    import torch

    from hwq.runtime.float_executor import TorchExecutor

    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((3, *graph.inputs[0].shape[1:]), generator=generator)
    values = TorchExecutor(graph)(images)
    return [values[name].numpy() for name in graph.outputs]


def fold(graph):
    """The graph with its factors folded, which gives the same results."""
    after = run_passes(graph, [FoldMul()])
    for old, new in zip(run(graph), run(after), strict=True):
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-5)
    return after


def muls(graph):
    return [node.name for node in graph.nodes if node.op == "mul"]


def test_one_layer_read_twice_with_two_scalings(build_graph, grid):
    """Both layers share their weight: each gets a scaled one of its own."""
    graph = build_graph(
        (1, 5, 4),
        {"w": grid(4, 4), "b": grid(4, seed=1), "two": 2.0, "three": 3.0},
        ("once", "linear", ["image", "w", "b"]),
        ("doubled", "mul", ["once", "two"]),
        ("twice", "linear", ["doubled", "w", "b"]),
        ("tripled", "mul", ["twice", "three"]),
        ("plain", "linear", ["tripled", "w", "b"]),
    )
    after = fold(graph)
    assert not muls(after)
    weights = {after.by_name[name].inputs[1] for name in ("once", "twice", "plain")}
    assert len(weights) == 3


@pytest.mark.parametrize("producer", ["linear", "matmul", "add"])
def test_what_the_network_returns_keeps_its_size(build_graph, grid, producer):
    nodes = {
        "linear": ("y", "linear", ["image", "w"]),
        "matmul": ("y", "matmul", ["image", "image"], {"alpha": 1.0}),
        "add": ("y", "add", ["image", "w"]),
    }
    graph = build_graph(
        (1, 4, 4),
        {"w": grid(4, 4), "hundred": 100.0},
        nodes[producer],
        ("z", "mul", ["y", "hundred"]),
        outputs=("y", "z"),
    )
    assert muls(fold(graph)) == ["z"]


def test_a_factor_that_the_network_returns_beside_its_product(build_graph):
    graph = build_graph(
        (1, 4, 4),
        {"half": 0.5},
        ("q", "mul", ["image", "half"]),
        ("y", "matmul", ["q", "image"], {"alpha": 1.0}),
        outputs=("y", "q"),
    )
    assert muls(fold(graph)) == ["q"]


def test_a_sum_with_a_constant_is_scaled_as_a_whole(build_graph, grid):
    graph = build_graph(
        (1, 5, 4),
        {"w": grid(4, 4), "position": grid(5, 4), "half": 0.5},
        ("fc", "linear", ["image", "w"]),
        ("placed", "add", ["fc", "position"]),
        ("y", "mul", ["placed", "half"]),
    )
    assert not muls(fold(graph))


def test_a_sum_with_something_that_others_read_stays(build_graph, grid):
    graph = build_graph(
        (1, 5, 4),
        {"w": grid(4, 4), "half": 0.5},
        ("fc", "linear", ["image", "w"]),
        ("sum", "add", ["fc", "image"]),
        ("y", "mul", ["sum", "half"]),
    )
    assert muls(fold(graph)) == ["y"]


@pytest.mark.parametrize("factor", [0.0, -1.5])
@pytest.mark.parametrize("place", ["before", "after"])
def test_only_a_positive_factor_goes_into_an_alpha(build_graph, factor, place):
    """An accumulator's scale is positive."""
    scores = ["q", "image"] if place == "before" else ["image", "image"]
    nodes = [
        ("q", "mul", ["image", "c"]),
        ("y", "matmul", scores, {"alpha": 1.0}),
        ("z", "mul", ["y", "c"]),
    ]
    chosen = nodes[:2] if place == "before" else nodes[1:]
    after = fold(build_graph((1, 4, 4), {"c": factor}, *chosen))
    assert len(muls(after)) == 1


def test_a_negative_factor_goes_into_weights(build_graph, grid):
    graph = build_graph(
        (1, 5, 4),
        {"w": grid(4, 4), "c": -1.0},
        ("fc", "linear", ["image", "w"]),
        ("y", "mul", ["fc", "c"]),
    )
    assert not muls(fold(graph))


def test_a_factor_of_a_larger_shape_stays(build_graph, grid):
    graph = build_graph(
        (1, 1, 4),
        {"w": grid(4, 4), "c": grid(5, 4)},
        ("fc", "linear", ["image", "w"]),
        ("y", "mul", ["fc", "c"]),
    )
    assert muls(fold(graph)) == ["y"]
