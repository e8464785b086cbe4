"""Where the tensors of a graph's attributes are: on the CPU, or on a device."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

from hwq.graph.ir import Graph, Node


def place(graph: Graph, device: str | torch.device) -> Graph:
    """Return the graph with the tensors of its quantizers and predictors on `device`.

    Constants are arrays and stay. A graph whose tensors are there already is returned as it is,
    and objects that were shared still are.
    """
    mover = _Mover(torch.device(device))
    nodes = tuple(mover.node(node) for node in graph.nodes)
    same = all(new is old for new, old in zip(nodes, graph.nodes, strict=True))
    return graph if same else replace(graph, nodes=nodes)


class _Mover:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        # the old object stays alive with the new one, so that its id is nobody else's
        self.moved: dict[int, tuple[Any, Any]] = {}

    def node(self, node: Node) -> Node:
        attrs = self(node.attrs)
        quant = self(node.output.quant)
        if attrs is node.attrs and quant is node.output.quant:
            return node
        return replace(node, attrs=attrs, output=replace(node.output, quant=quant))

    def __call__(self, value: Any) -> Any:
        """Return the value on the device: itself where nothing moves."""
        if isinstance(value, torch.Tensor):
            return value.to(self.device)
        if isinstance(value, tuple | list):
            items = [self(item) for item in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else type(value)(items)
        if isinstance(value, Mapping):
            table = {key: self(item) for key, item in value.items()}
            return value if all(table[key] is value[key] for key in table) else table
        if is_dataclass(value) and not isinstance(value, type):
            if id(value) not in self.moved:
                self.moved[id(value)] = (value, self._fields(value))
            return self.moved[id(value)][1]
        return value

    def _fields(self, value: Any) -> Any:
        changes = {}
        for part in fields(value):
            old = getattr(value, part.name)
            new = self(old)
            if part.init and new is not old:
                changes[part.name] = new
        return replace(value, **changes) if changes else value
