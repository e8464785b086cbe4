import pytest

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.fuse_activation import FuseActivation

SIGMOID = {"function": "sigmoid"}


@pytest.mark.parametrize("operands", [["image", "s"], ["s", "image"]], ids=["x first", "x second"])
def test_x_times_its_sigmoid_is_silu(check_pass, build_graph, operands):
    graph = build_graph(
        (1, 5, 4), {}, ("s", "activation", ["image"], SIGMOID), ("y", "mul", operands)
    )
    after = check_pass(FuseActivation(), graph, name=f"fuse_activation_silu_{operands.index('s')}")
    (node,) = after.nodes
    assert (node.op, node.attrs["function"]) == ("activation", "silu")


def test_x_times_the_sigmoid_of_1_702_x_is_quick_gelu(check_pass, build_graph):
    graph = build_graph(
        (1, 5, 4),
        {"c": 1.702},
        ("t", "mul", ["c", "image"]),
        ("s", "activation", ["t"], SIGMOID),
        ("y", "mul", ["image", "s"]),
    )
    after = check_pass(FuseActivation(), graph, name="fuse_activation_quick_gelu")
    (node,) = after.nodes
    assert (node.op, node.attrs["function"]) == ("activation", "quick_gelu")


def test_a_sigmoid_that_others_read_stays_beside_the_activation(build_graph):
    graph = build_graph(
        (1, 5, 4),
        {},
        ("s", "activation", ["image"], SIGMOID),
        ("y", "mul", ["image", "s"]),
        ("z", "add", ["y", "s"]),
    )
    after = run_passes(graph, [FuseActivation()])
    assert [n.attrs.get("function") for n in after.nodes] == ["sigmoid", "silu", None]


@pytest.mark.parametrize(
    ("constant", "product"),
    [(1.6, ["image", "s"]), (1.702, ["t", "s"]), ([1.702] * 4, ["image", "s"])],
    ids=["another factor", "of the scaled", "a factor per channel"],
)
def test_other_products_stay(build_graph, constant, product):
    graph = build_graph(
        (1, 5, 4),
        {"c": constant},
        ("t", "mul", ["image", "c"]),
        ("s", "activation", ["t"], SIGMOID),
        ("y", "mul", product),
    )
    after = run_passes(graph, [FuseActivation()])
    wanted = "silu" if product == ["t", "s"] else "sigmoid"
    assert [n.attrs["function"] for n in after.nodes if n.op == "activation"] == [wanted]
