"""A pass takes a legal graph and returns a legal graph."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from hwq.graph.ir import Graph
from hwq.graph.verify import verify


@dataclass(frozen=True)
class Pass(ABC):
    """One rewriting; its fields are its options."""

    name: ClassVar[str]

    @abstractmethod
    def apply(self, graph: Graph) -> Graph:
        """Return the rewritten graph."""


def run_passes(graph: Graph, passes: Iterable[Pass]) -> Graph:
    """Apply `passes` in order; the graph is verified before the first and after every one.

    Raises
    ------
    GraphError
        When a pass leaves an illegal graph.
    """
    verify(graph)
    for step in passes:
        graph = verify(step.apply(graph))
    return graph
