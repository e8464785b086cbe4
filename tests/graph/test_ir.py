from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node, Tensor, constant_like

IMAGE = Tensor("image", (1, 4))


def add(name, left, right):
    return Node("add", (left, right), Tensor(name, (1, 4)))


def graph(*nodes, outputs=("y",), constants=None):
    return Graph("g", (IMAGE,), constants or {}, nodes, outputs)


def test_a_name_is_defined_once():
    with pytest.raises(GraphError, match=r"^'y' is defined twice$"):
        graph(add("y", "image", "image"), add("y", "image", "image"))


def test_a_node_must_not_take_the_name_of_a_constant():
    with pytest.raises(GraphError, match=r"^'y' is defined twice$"):
        graph(add("y", "image", "image"), constants={"y": constant_like(0.0)})


def test_a_name_is_defined_before_it_is_used():
    with pytest.raises(GraphError, match=r"^y \(add\) uses 'x' before it is defined$"):
        graph(add("y", "x", "image"), add("x", "image", "image"))


def test_outputs_must_exist():
    with pytest.raises(GraphError, match=r"^output 'z' is not defined$"):
        graph(add("y", "image", "image"), outputs=("z",))


def test_rebuild_sorts():
    first, second = add("x", "image", "image"), add("y", "x", "image")
    assert graph(first, second).rebuild([second, first]).nodes == (first, second)


def test_rebuild_keeps_the_order_of_independent_nodes():
    nodes = [add("b", "image", "image"), add("a", "image", "image"), add("y", "a", "b")]
    assert [n.name for n in graph(*nodes).rebuild(nodes).nodes] == ["b", "a", "y"]


def test_rebuild_drops_what_nothing_needs():
    nodes = [add("y", "image", "c"), add("unused", "image", "d")]
    full = graph(*nodes, constants={"c": constant_like(1.0), "d": constant_like(2.0)})
    rebuilt = full.rebuild(nodes)
    assert [node.name for node in rebuilt.nodes] == ["y"]
    assert list(rebuilt.constants) == ["c"]


def test_rebuild_finds_a_cycle():
    nodes = [add("x", "y", "image"), add("y", "x", "image")]
    with pytest.raises(GraphError, match=r"^the graph has a cycle$"):
        graph(add("y", "image", "image")).rebuild(nodes)


def test_consumers_are_listed_once_each():
    both = add("y", "image", "image")
    assert graph(both).consumers("image") == (both,)
    assert graph(both).consumers("y") == ()


def test_network_has_an_edge_per_use():
    nodes = [add("x", "image", "c"), add("y", "x", "image")]
    network = graph(*nodes, constants={"c": constant_like(1.0)}).network
    assert ("x", "y") in network.edges


def test_everything_is_frozen():
    with pytest.raises(FrozenInstanceError):
        graph(add("y", "image", "image")).name = "other"
    assert not constant_like([1.0]).flags.writeable
    assert replace(IMAGE, dtype="uint8").dtype == "uint8"


def test_tensors_holds_inputs_constants_and_outputs():
    full = graph(add("y", "image", "c"), constants={"c": constant_like([1, 2, 3, 4], "int8")})
    assert full.tensors["c"] == Tensor("c", (4,), "int8")
    assert set(full.tensors) == {"image", "c", "y"}
    assert full.shape("image") == (1, 4)


def test_constants_are_contiguous_copies():
    source = np.arange(6.0).reshape(2, 3).T
    value = constant_like(source)
    assert value.flags.c_contiguous and value.dtype == np.float32
