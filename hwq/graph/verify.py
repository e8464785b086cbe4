"""A graph is legal when every node satisfies its row of the operations table."""

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node
from hwq.graph.ops import OPS


def verify(graph: Graph) -> Graph:
    """Return `graph` when every node is legal.

    Raises
    ------
    GraphError
        At the first node with an unknown operation, a wrong number of inputs, a missing attribute
        or a shape that does not follow from its inputs. The node is named with its inputs.
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
    missing = definition.attrs - set(node.attrs)
    if missing:
        return f"lacks attribute {', '.join(sorted(missing))}"
    try:
        shape = definition.infer([graph.shape(name) for name in node.inputs], node.attrs)
    except GraphError as error:
        return str(error)
    if shape != node.output.shape:
        return f"shape is {list(shape)}, not {list(node.output.shape)}"
    return None
