from dataclasses import dataclass, replace

import numpy as np
import torch

from hwq.graph.ir import constant_like
from hwq.graph.text import describe, to_text


def test_golden_text_of_the_tiny_network(tiny_graph, golden):
    golden("graph/tiny_vit.txt", to_text(tiny_graph))


def test_attributes_are_sorted(tiny_graph):
    node = next(node for node in tiny_graph.nodes if node.op == "conv2d")
    turned = replace(node, attrs=dict(reversed(list(node.attrs.items()))))
    nodes = tuple(turned if other is node else other for other in tiny_graph.nodes)
    assert list(turned.attrs) != list(node.attrs)
    assert to_text(replace(tiny_graph, nodes=nodes)) == to_text(tiny_graph)


def test_one_bit_of_one_weight_changes_the_text(tiny_graph):
    value = tiny_graph.constants["head.weight"].copy()
    value[3, 4] = np.nextafter(value[3, 4], np.float32(2))
    constants = {**tiny_graph.constants, "head.weight": constant_like(value)}
    assert to_text(replace(tiny_graph, constants=constants)) != to_text(tiny_graph)


def test_describe_tells_values_apart():
    @dataclass
    class Pair:
        left: object
        right: object

    assert describe(Pair(1, (2.5, "x"))) == "Pair(left=1, right=(2.5, 'x'))"
    assert describe(torch.tensor(3)) == describe(np.array(3)) == "3"
    assert describe(np.array([1, 2], np.int8)) == describe(torch.tensor([1, 2]).char())
    assert describe(np.array([1, 2], np.int8)) != describe(np.array([1, 3], np.int8))
    assert describe(np.array([1, 2], np.int8)) != describe(np.array([1, 2], np.uint8))
    assert describe(np.zeros((2, 3), np.int8)).startswith("int8[2, 3]#")
