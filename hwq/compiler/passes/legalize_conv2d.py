"""Turns the patch embedding's convolution into the matrix product that it is."""

from dataclasses import dataclass, replace
from typing import ClassVar

from hwq.compiler.passes.base import Pass
from hwq.errors import GraphError
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like


@dataclass(frozen=True)
class LegalizeConv2d(Pass):
    """Rewrites a convolution whose windows do not overlap as patches times a weight matrix.

    ::

        y: [1xNxhxw] = conv2d(x, w, b) {stride=(p, p), padding=(0, 0)}
        -> y.linear: [1x(h*w)xN] = linear(patches of x, w as [N, C*p*p], b)
           y: [1xNxhxw] = permuted and reshaped y.linear

    Raises
    ------
    GraphError
        For a convolution with overlapping windows or padding: the array runs matrix products.
    """

    name: ClassVar[str] = "legalize_conv2d"

    def apply(self, graph: Graph) -> Graph:
        """Return the graph without `conv2d`."""
        constants = dict(graph.constants)
        nodes: list[Node] = []
        for node in graph.nodes:
            if node.op == "conv2d":
                nodes += _patches_times_weight(graph, node, constants)
            else:
                nodes.append(node)
        return graph.rebuild(nodes, constants=constants)


def _patches_times_weight(graph: Graph, node: Node, constants: dict[str, Constant]) -> list[Node]:
    (_, channels, height, width) = graph.shape(node.inputs[0])
    weight = graph.constants.get(node.inputs[1])
    (_, filters, rows, columns) = node.output.shape
    window = graph.shape(node.inputs[1])[2:]
    tiled = (rows * window[0], columns * window[1])
    if weight is None or node.attrs["stride"] != window or any(node.attrs["padding"]):
        raise GraphError(
            f"{node.name}: only a convolution of disjoint patches becomes a matrix product, not "
            f"window {window}, stride {node.attrs['stride']}, padding {node.attrs['padding']}"
        )
    crops, image = [], node.inputs[0]
    for axis, whole, covered in ((2, height, tiled[0]), (3, width, tiled[1])):
        if covered < whole:  # the last pixels are in no window
            size = (1, channels, tiled[0], width if axis == 2 else tiled[1])
            crop = Tensor(f"{node.name}.crop{axis}", size)
            attrs = {"axis": axis, "start": 0, "stop": covered}
            crops.append(Node("slice", (image,), crop, attrs))
            image = crop.name
    matrix = f"{node.inputs[1]}.matrix"
    constants[matrix] = constant_like(weight.reshape(filters, -1))
    grid = (1, channels, rows, window[0], columns, window[1])
    split = Node("reshape", (image,), Tensor(f"{node.name}.grid", grid), {"shape": grid})
    axes = (0, 2, 4, 1, 3, 5)
    order = Node(
        "permute",
        (split.name,),
        Tensor(f"{node.name}.windows", tuple(grid[axis] for axis in axes)),
        {"axes": axes},
    )
    shape = (1, rows * columns, channels * window[0] * window[1])
    patches = Node(
        "reshape", (order.name,), Tensor(f"{node.name}.patches", shape), {"shape": shape}
    )
    linear = Node(
        "linear",
        (patches.name, matrix, *node.inputs[2:]),
        Tensor(f"{node.name}.linear", (1, rows * columns, filters)),
    )
    turned = Node(
        "permute",
        (linear.name,),
        Tensor(f"{node.name}.channels", (1, filters, rows * columns)),
        {"axes": (0, 2, 1)},
    )
    result = replace(node, op="reshape", inputs=(turned.name,), attrs={"shape": node.output.shape})
    return [*crops, split, order, patches, linear, turned, result]
