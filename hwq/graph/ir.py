"""Tensor, Node and Graph: one frozen structure for float, quantised and integer networks.

A graph describes one image (the leading dimension of every tensor is 1); executors batch it.
Every node has exactly one output tensor, which carries the node's name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from hwq.errors import GraphError

Attrs = Mapping[str, Any]
Constant = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value in the graph.

    Parameters
    ----------
    name : str
        Unique in its graph.
    shape : tuple of int
        For one image; the leading dimension of an activation is 1.
    dtype : str
        "float32", or the numpy name of an integer type.
    quant : object, optional
        How integers stand for reals: a `FixedPoint` or a `Quantizer`; None for plain floats.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    quant: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation.

    Parameters
    ----------
    op : str
        A key of `hwq.graph.ops.OPS`.
    inputs : tuple of str
        Names of graph inputs, constants or other nodes.
    output : Tensor
        What it computes; `output.name` is the node's name.
    attrs : Mapping
        Parameters that are not tensors.
    """

    op: str
    inputs: tuple[str, ...]
    output: Tensor
    attrs: Attrs = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name, which is its output's."""
        return self.output.name

    @property
    def quantizer(self) -> Any:
        """What a `quantize` node encodes with: its tensor's `quant`; None of any other node."""
        return self.output.quant if self.op == "quantize" else None


@dataclass(frozen=True, eq=False)
class Graph:
    """A network for one image, as nodes in topological order.

    Parameters
    ----------
    name : str
        The model's name.
    inputs : tuple of Tensor
        What the caller provides.
    constants : Mapping[str, ndarray]
        Parameters by name.
    nodes : tuple of Node
        In topological order.
    outputs : tuple of str
        Names of the results.

    Raises
    ------
    GraphError
        When a name is defined twice or used before it is defined.
    """

    name: str
    inputs: tuple[Tensor, ...]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        known = {tensor.name for tensor in self.inputs} | set(self.constants)
        for node in self.nodes:
            for name in node.inputs:
                if name not in known:
                    raise GraphError(f"{node.name} ({node.op}) uses {name!r} before it is defined")
            if node.name in known:
                raise GraphError(f"{node.name!r} is defined twice")
            known.add(node.name)
        for name in self.outputs:
            if name not in known:
                raise GraphError(f"output {name!r} is not defined")

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by name: inputs, constants and node outputs."""
        table = {tensor.name: tensor for tensor in self.inputs}
        for name, value in self.constants.items():
            table[name] = Tensor(name, value.shape, str(value.dtype))
        for node in self.nodes:
            table[node.name] = node.output
        return table

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def network(self) -> "nx.DiGraph[str]":
        """Data flow between tensors' names, as a networkx graph."""
        network: nx.DiGraph[str] = nx.DiGraph()
        network.add_nodes_from(self.tensors)
        for node in self.nodes:
            network.add_edges_from((name, node.name) for name in node.inputs)
        return network

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor called `name`."""
        return self.tensors[name].shape

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Nodes that read the tensor called `name`, in graph order."""
        return self._consumers.get(name, ())

    @cached_property
    def _consumers(self) -> dict[str, tuple[Node, ...]]:
        table: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                table.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in table.items()}

    def uses(self, name: str) -> int:
        """How often the tensor called `name` is read: by nodes, and as a result."""
        return sum(node.inputs.count(name) for node in self.consumers(name)) + self.outputs.count(
            name
        )

    def free_name(self, base: str) -> str:
        """Return `base`, or the first of base_1, base_2, ... that no tensor has."""
        name, number = base, 0
        while name in self.tensors:
            number += 1
            name = f"{base}_{number}"
        return name

    def replace_nodes(
        self, changed: Mapping[str, Node], constants: Mapping[str, Constant] | None = None
    ) -> "Graph":
        """Return the graph with other nodes under some names, and further constants."""
        nodes = tuple(changed.get(node.name, node) for node in self.nodes)
        return replace(self, nodes=nodes, constants={**self.constants, **(constants or {})})

    def without(self, node: Node, source: str) -> "Graph":
        """Return the graph without `node`, whose readers then read `source`."""

        def renamed(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(source if name == node.name else name for name in names)

        nodes = [
            replace(other, inputs=renamed(other.inputs)) if node.name in other.inputs else other
            for other in self.nodes
            if other is not node
        ]
        return self.rebuild(nodes, outputs=renamed(self.outputs))

    def rebuild(
        self,
        nodes: Iterable[Node],
        constants: Mapping[str, Constant] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> "Graph":
        """Return a graph of `nodes`, sorted; nodes and constants that nothing needs are dropped."""
        pool = {node.name: node for node in nodes}
        results = tuple(self.outputs if outputs is None else outputs)
        table = self.constants if constants is None else constants
        order = _needed(pool, results)
        used = {name for node in order for name in node.inputs} | set(results)
        return replace(
            self,
            inputs=self.inputs if inputs is None else tuple(inputs),
            constants={name: value for name, value in table.items() if name in used},
            nodes=order,
            outputs=results,
        )


def _needed(pool: Mapping[str, Node], outputs: Sequence[str]) -> tuple[Node, ...]:
    """Nodes that `outputs` depend on, in a topological order that keeps the pool's order."""
    network: nx.DiGraph[str] = nx.DiGraph()
    position = {name: index for index, name in enumerate(pool)}
    pending = [name for name in outputs if name in pool]
    network.add_nodes_from(pending)
    seen = set(pending)
    while pending:
        name = pending.pop()
        for source in pool[name].inputs:
            if source in pool:
                network.add_edge(source, name)
                if source not in seen:
                    seen.add(source)
                    pending.append(source)
    try:
        order = list(nx.lexicographical_topological_sort(network, key=position.__getitem__))
    except nx.NetworkXUnfeasible as error:
        raise GraphError("the graph has a cycle") from error
    return tuple(pool[name] for name in order)


def constant_like(value: Any, dtype: str = "float32") -> Constant:
    """Return `value` as a read-only contiguous array."""
    array = np.ascontiguousarray(np.asarray(value, dtype=dtype))
    array.setflags(write=False)
    return array
