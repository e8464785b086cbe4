from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from hwq.compiler.passes.base import Pass, run_passes
from hwq.errors import GraphError


@dataclass(frozen=True)
class Rename(Pass):
    """Append a suffix to the graph's name."""

    name: ClassVar[str] = "rename"
    suffix: str = "!"

    def apply(self, graph):
        return replace(graph, name=graph.name + self.suffix)


@dataclass(frozen=True)
class Break(Pass):
    """Make every node illegal."""

    name: ClassVar[str] = "break"

    def apply(self, graph):
        return replace(graph, nodes=tuple(replace(node, op="nothing") for node in graph.nodes))


def test_passes_run_in_order(tiny_graph):
    assert run_passes(tiny_graph, [Rename("a"), Rename("b")]).name == "tinyab"
    assert run_passes(tiny_graph, []) is tiny_graph


def test_graph_is_verified_before_the_first_pass(tiny_graph):
    with pytest.raises(GraphError, match="unknown operation"):
        run_passes(Break().apply(tiny_graph), [])


def test_graph_is_verified_after_every_pass(tiny_graph):
    with pytest.raises(GraphError, match="unknown operation"):
        run_passes(tiny_graph, [Break(), Rename()])
