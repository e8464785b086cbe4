"""A factor on a tensor, moved into what computes the tensor: into weights, alphas, constants."""

from dataclasses import replace

import numpy as np

from hwq.graph.ir import Constant, Graph, Node, constant_like
from hwq.graph.ops import OPS


def absorb(graph: Graph, name: str, factor: Constant) -> Graph | None:
    """Return the graph in which the tensor called `name` is `factor` times as large.

    Parameters
    ----------
    graph : Graph
        Float.
    name : str
        A tensor that is read once; a linear layer's takes one factor per output, a matrix
        product's, a sum's and what merely moves them take one number.
    factor : float[] or float[N]
        One number, or one per element of the last axis.

    Returns
    -------
    Graph or None
        None where that cannot be done without changing another tensor's readers.

    Notes
    -----
    ::

        y = linear(x, w, b)       -> y = linear(x, factor * w, factor * b)
        y = matmul(q, k) {alpha}  -> y = matmul(q, k) {factor * alpha}
        y = add(s, t)             -> both s and t are scaled
    """
    if name in graph.constants:
        return _scale_constant(graph, name, factor)
    node = graph.by_name.get(name)
    if node is None or graph.uses(name) != 1:
        return None
    if node.op == "linear":
        return _scale_weights(graph, node, factor)
    if factor.size > 1:
        return None
    if node.op == "matmul":
        scaled = scale_alpha(node, factor.item())
        return None if scaled is None else graph.replace_nodes({name: scaled})
    if node.op == "add" or OPS[node.op].movement:
        return _absorb_all(graph, node, factor)
    return None


def scale_alpha(matmul: Node, factor: float) -> Node | None:
    """Return the product with another alpha; None where that would not be positive."""
    alpha = float(np.float64(matmul.attrs["alpha"]) * factor)
    return replace(matmul, attrs={**matmul.attrs, "alpha": alpha}) if alpha > 0 else None


def _absorb_all(graph: Graph, node: Node, factor: Constant) -> Graph | None:
    """Scale every operand of a node; None where one cannot be."""
    scaled: Graph | None = graph
    for index in range(len(node.inputs)):
        if scaled is not None:
            # an operand that is a constant has another name from its turn on
            scaled = absorb(scaled, scaled.by_name[node.name].inputs[index], factor)
    return scaled


def _scale_constant(graph: Graph, name: str, factor: Constant) -> Graph | None:
    if graph.uses(name) != 1:
        return None
    (reader,) = graph.consumers(name)
    scaled = graph.free_name(f"{name}.scaled")
    inputs = tuple(scaled if source == name else source for source in reader.inputs)
    value = constant_like(graph.constants[name] * factor)
    return graph.replace_nodes({reader.name: replace(reader, inputs=inputs)}, {scaled: value})


def _scale_weights(graph: Graph, node: Node, factor: Constant) -> Graph | None:
    """Scale weight and bias; others may read the unscaled ones, which stay."""
    if not all(name in graph.constants for name in node.inputs[1:]):
        return None
    constants = {}
    for name, shape in zip(node.inputs[1:], ((-1, 1), (-1,)), strict=False):
        scaled = graph.free_name(f"{name}.scaled")
        constants[scaled] = constant_like(graph.constants[name] * factor.reshape(shape))
    changed = replace(node, inputs=(node.inputs[0], *constants))
    return graph.replace_nodes({node.name: changed}, constants)
