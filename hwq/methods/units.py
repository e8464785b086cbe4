"""Units of reconstruction: the parts of a network between two sums of its residual stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hwq.errors import UsageError
from hwq.graph.ir import Graph
from hwq.graph.ops import PRODUCTS


@dataclass(frozen=True, eq=False)
class Unit:
    """A part of a network that one tensor enters and one tensor leaves.

    Parameters
    ----------
    source, result : str
        Names of these tensors.
    graph : Graph
        The part, with `source` as its input and `result` as its output.
    """

    source: str
    result: str
    graph: Graph

    @property
    def attention(self) -> bool:
        """Whether it holds a softmax."""
        return any(node.op == "softmax" for node in self.graph.nodes)

    def of(self, graph: Graph) -> "Unit":
        """Return the same part of another graph, one with the same names."""
        return _unit(graph, self.source, self.result)


def split_units(graph: Graph, blocks: bool = False) -> tuple[Unit, ...]:
    """Cut a network into units, in order.

    Parameters
    ----------
    graph : Graph
        Float or quantised.
    blocks : bool
        Whether an attention module and the MLP behind it are one unit.

    Raises
    ------
    UsageError
        When the network has no residual sum that all data passes through.
    """
    bounds = residual_sums(graph)
    if not bounds:
        raise UsageError(f"model {graph.name!r} has no residual stream to cut it at")
    ends = [*bounds, *(name for name in graph.outputs if name not in bounds)]
    modules: list[Unit] = []
    source = graph.inputs[0].name
    for result in ends:
        unit = _unit(graph, source, result)
        if any(node.op in PRODUCTS for node in unit.graph.nodes):
            modules.append(unit)
            source = result
    return tuple(_join(graph, modules) if blocks else modules)


def _join(graph: Graph, modules: Sequence[Unit]) -> Iterator[Unit]:
    """Yield the modules, each attention module together with the one behind it."""
    waiting = iter(modules)
    for unit in waiting:
        last = next(waiting, None) if unit.attention else None
        yield unit if last is None else _unit(graph, unit.source, last.result)


def residual_sums(graph: Graph) -> tuple[str, ...]:
    """Names of the `add` nodes that everything computed from the image passes through."""
    computed = {tensor.name for tensor in graph.inputs}
    readers = {name: len(graph.consumers(name)) for name in graph.tensors}
    live = set(computed)
    cuts = []
    for node in graph.nodes:
        data = [name for name in dict.fromkeys(node.inputs) if name in computed]
        for name in data:
            readers[name] -= 1
            if not readers[name]:
                live.discard(name)
        if data:
            computed.add(node.name)
            live.add(node.name)
            if node.op == "add" and live == {node.name}:
                cuts.append(node.name)
    return tuple(cuts)


def _unit(graph: Graph, source: str, result: str) -> Unit:
    entry = replace(graph.tensors[source], dtype="float32", quant=None)
    nodes = [node for node in graph.nodes if node.name != source]
    return Unit(source, result, graph.rebuild(nodes, inputs=[entry], outputs=[result]))
