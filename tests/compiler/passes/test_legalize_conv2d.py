import re

import pytest

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.legalize_conv2d import LegalizeConv2d
from hwq.errors import GraphError


def convolution(build_graph, grid, weight=(5, 3, 4, 2), stride=None, padding=(0, 0), bias=True):
    constants = {"w": grid(*weight), **({"b": grid(5, seed=1)} if bias else {})}
    attrs = {"stride": stride or weight[2:], "padding": padding}
    return build_graph((1, 3, 8, 4), constants, ("y", "conv2d", ["image", *constants], attrs))


def test_patches_times_weight(check_pass, build_graph, grid):
    after = check_pass(LegalizeConv2d(), convolution(build_graph, grid))
    assert not any(node.op == "conv2d" for node in after.nodes)
    assert after.outputs == ("y",)


def test_without_bias(check_pass, build_graph, grid):
    graph = convolution(build_graph, grid, bias=False)
    after = check_pass(LegalizeConv2d(), graph, name="legalize_conv2d_without_bias")
    assert len(after.by_name["y.linear"].inputs) == 2


@pytest.mark.parametrize("window", [(3, 2), (4, 3), (3, 3)])
def test_pixels_in_no_window_are_left_out(check_pass, build_graph, grid, window):
    graph = convolution(build_graph, grid, weight=(5, 3, *window))
    name = f"legalize_conv2d_{window[0]}x{window[1]}"
    after = check_pass(LegalizeConv2d(), graph, name=name)
    rest = [size % side for size, side in zip((8, 4), window, strict=True)]
    assert sum(node.op == "slice" for node in after.nodes) == sum(map(bool, rest))


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": (2, 2)},
        {"padding": (2, 1), "weight": (5, 3, 4, 2)},
    ],
    ids=["overlap", "padding"],
)
def test_other_convolutions_are_refused(build_graph, grid, changes):
    graph = convolution(build_graph, grid, **changes)
    message = "y: only a convolution of disjoint patches becomes a matrix product, not window "
    with pytest.raises(GraphError, match=f"^{re.escape(message)}"):
        run_passes(graph, [LegalizeConv2d()])
