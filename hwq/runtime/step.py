"""Steps of an image's way through an integer network."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from hwq.graph.ir import Node

Array = NDArray[Any]
Counts = MutableMapping[str, int]
"""Node -> number of its elements that saturate."""

IntegerFunction = Callable[[Node, Sequence[Any]], tuple[Array, int]]
"""What an operation does: (node, operands) -> (output, number of saturated elements)."""


class Step(Protocol):
    """One node, or several as one kernel."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        ...

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        ...

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """Compute the output, and count what saturates, 0 before, in every node."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class NodeStep:
    """One node, by the function of its operation."""

    node: Node
    function: IntegerFunction

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return self.node.inputs

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        return self.node.name

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """See `Step`."""
        result, saturated = self.function(self.node, [values[name] for name in self.inputs])
        saturations[self.output] = saturated
        return result


@dataclass(frozen=True, slots=True, eq=False)
class MoveStep:
    """A node that moves elements: mostly a view, so that looking things up is its work."""

    node: Node
    movement: Callable[[Node, Sequence[Array]], Array]
    inputs: tuple[str, ...]
    output: str

    def run(self, values: Mapping[str, Array], saturations: Counts) -> Array:
        """See `Step`."""
        return self.movement(self.node, [values[name] for name in self.inputs])
