from numpy.testing import assert_array_equal

from hwq.compiler.passes.base import run_passes
from hwq.compiler.passes.fold_constants import FoldConstants


def test_constant_expressions_become_their_value(check_pass, build_graph, grid):
    graph = build_graph(
        (1, 2, 4),
        {"token": grid(1, 1, 4), "row": grid(1, 2, 4, seed=1), "gain": grid(4, seed=2)},
        ("rows", "expand", ["token"], {"shape": (1, 2, 4)}),
        ("sum", "add", ["rows", "row"]),
        ("scaled", "mul", ["sum", "gain"]),
        ("y", "add", ["image", "scaled"]),
    )
    after = check_pass(FoldConstants(), graph, atol=0)
    assert [node.name for node in after.nodes] == ["y"]
    token, row, gain = (graph.constants[name] for name in ("token", "row", "gain"))
    assert_array_equal(after.constants["scaled"], (token + row) * gain)


def test_every_movement_of_a_constant_is_folded(build_graph, grid):
    graph = build_graph(
        (1, 6),
        {"c": grid(2, 6)},
        ("turned", "permute", ["c"], {"axes": (1, 0)}),
        ("flat", "reshape", ["turned"], {"shape": (1, 12)}),
        ("part", "slice", ["flat"], {"axis": 1, "start": 3, "stop": 9}),
        ("both", "concat", ["part", "part"], {"axis": 0}),
        ("first", "select", ["both"], {"axis": 0, "index": 1}),
        ("y", "add", ["image", "first"]),
    )
    after = run_passes(graph, [FoldConstants()])
    assert [node.name for node in after.nodes] == ["y"]
    wanted = graph.constants["c"].T.reshape(12)[3:9]
    assert_array_equal(after.constants["first"], wanted)


def test_activations_are_left_alone(build_graph, grid):
    graph = build_graph((1, 4), {"c": grid(4)}, ("y", "add", ["image", "c"]))
    assert run_passes(graph, [FoldConstants()]).nodes == graph.nodes
