"""A graph is legal when every node satisfies its row of the operations table."""

from math import prod

from hwq.errors import GraphError
from hwq.graph.attributes import check_attributes
from hwq.graph.ir import Graph, Node
from hwq.graph.ops import OPS

MAX_ELEMENTS = 1 << 30


def verify(graph: Graph) -> Graph:
    """Return `graph` when every node is legal.

    Raises
    ------
    GraphError
        At the first node with an unknown operation, a wrong number of inputs, an attribute that is
        missing or not of its kind, or a shape that does not follow from its inputs or is too large.
        The node is named with its inputs.
    """
    for node in graph.nodes:
        problem = _problem(graph, node)
        if problem is not None:
            inputs = ", ".join(f"{name}{list(graph.shape(name))}" for name in node.inputs)
            raise GraphError(f"{node.name} = {node.op}({inputs}): {problem}")
    return graph


def _problem(graph: Graph, node: Node) -> str | None:
    definition = OPS.get(node.op)
    if definition is None:
        return "unknown operation"
    fewest, most = definition.arity
    if not fewest <= len(node.inputs) <= most:
        return f"takes {fewest} to {most} inputs, not {len(node.inputs)}"
    try:
        check_attributes(node.attrs, definition.attributes(node.output))
        shape = definition.infer([graph.shape(name) for name in node.inputs], node.attrs)
    except GraphError as error:
        return str(error)
    if definition.quant is not None and not definition.quant.holds(node.output.quant):
        return f"its tensor must be of {definition.quant.text}, not {node.output.quant!r:.60}"
    if shape != node.output.shape:
        return f"shape is {list(shape)}, not {list(node.output.shape)}"
    if prod(shape) > MAX_ELEMENTS:
        return f"must have at most {MAX_ELEMENTS} elements, not {prod(shape)}"
    return None
