from dataclasses import replace

import pytest

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node, Tensor
from hwq.graph.verify import verify

IMAGE = Tensor("image", (1, 4))


def message(*nodes):
    with pytest.raises(GraphError) as caught:
        verify(Graph("g", (IMAGE,), {}, nodes, (nodes[-1].name,)))
    return str(caught.value)


def test_returns_a_legal_graph(tiny_graph):
    assert verify(tiny_graph) is tiny_graph


def test_unknown_operation():
    node = Node("convolve", ("image",), Tensor("y", (1, 4)))
    assert message(node) == "y = convolve(image[1, 4]): unknown operation"


@pytest.mark.parametrize("inputs", [(), ("image",), ("image",) * 3])
def test_number_of_inputs(inputs):
    node = Node("add", inputs, Tensor("y", (1, 4)))
    assert message(node).endswith(f": takes 2 to 2 inputs, not {len(inputs)}")


def test_missing_attributes_are_named():
    node = Node("slice", ("image",), Tensor("y", (1, 2)), {"axis": 1})
    assert message(node) == "y = slice(image[1, 4]): lacks attribute start, stop"


def test_shape_that_cannot_be_inferred():
    node = Node("reshape", ("image",), Tensor("y", (1, 5)), {"shape": (1, 5)})
    assert message(node) == "y = reshape(image[1, 4]): cannot reshape (1, 4) to (1, 5)"


def test_shape_that_does_not_follow():
    node = Node("add", ("image", "image"), Tensor("y", (1, 5)))
    assert message(node) == "y = add(image[1, 4], image[1, 4]): shape is [1, 4], not [1, 5]"


def test_the_first_bad_node_is_named(tiny_graph):
    nodes = [
        replace(node, attrs={}) if node.op in ("softmax", "layer_norm") else node
        for node in tiny_graph.nodes
    ]
    with pytest.raises(GraphError, match=r"^blocks\.0\.norm1 = layer_norm\(add\[1, 17, 32\], "):
        verify(replace(tiny_graph, nodes=tuple(nodes)))


def test_shapes_that_do_not_broadcast_have_their_node():
    images = (Tensor("a", (1, 6)), Tensor("b", (1, 3)))
    node = Node("add", ("a", "b"), Tensor("y", (1, 6)))
    with pytest.raises(GraphError, match=r"^y = add\(a\[1, 6\], b\[1, 3\]\): .*do not broadcast$"):
        verify(Graph("g", images, {}, (node,), ("y",)))


def test_a_tensor_beyond_any_memory_is_refused():
    node = Node(
        "expand", ("image",), Tensor("y", (1 << 20, 1 << 12, 4)), {"shape": (1 << 20, 1 << 12, 4)}
    )
    assert message(node).endswith(": must have at most 1073741824 elements, not 17179869184")
