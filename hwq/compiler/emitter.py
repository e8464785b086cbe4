"""The layers of a program while it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from hwq.compiler.operand import Operand
from hwq.compiler.program import Layer, VectorLayer
from hwq.compiler.stored_tensors import StoredTensors
from hwq.errors import GraphError, SpecError
from hwq.graph.ir import Graph, Node
from hwq.numerics.unit import Unit
from hwq.numerics.units import unit_of_op, unit_of_spec


@dataclass
class Emitter:
    """Layers so far, and the tensors in memory.

    Parameters
    ----------
    graph : Graph
        Of integers.
    """

    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    chain: set[str] = field(default_factory=set)
    chain_size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.tensors = StoredTensors(self.graph.shape, self.copy)

    def begin_chain(self, node: Node, size: tuple[int, int]) -> None:
        """Let layers be fused to a matrix product of that many rows and columns."""
        self.chain, self.chain_size = {node.name}, size

    def is_fused(self, names: Sequence[str], size: tuple[int, int]) -> bool:
        """Whether a layer that reads `names` takes what streams out of the array, as it comes."""
        streamed = [name for name in names if self.tensors.stored[name].tensor in self.chain]
        in_order = all(self.tensors.in_order(name) for name in streamed)
        return bool(streamed) and in_order and size == self.chain_size

    def copy(self, name: str, to: str) -> Operand:
        """Append a copy of a tensor, which is read from then on."""
        source, shape = self.tensors.stored[name], self.graph.shape(name)
        out = self.tensors.store(to, shape, source.bits, source.dtype)
        self.append_move(to, name, self.tensors.out(out, shape))
        self.tensors.stored[name] = out
        return out

    def append_move(self, layer: str, name: str, out: Operand) -> None:
        """Append a layer that writes the elements of a tensor to another place."""
        *rows, length = self.graph.shape(name)
        size = prod(rows), length
        fused = self.is_fused([name], size)
        inputs = (self.tensors.rows(name, self.graph.shape(name)),)
        self.layers.append(VectorLayer(layer, "concat", *size, inputs, out, fused))
        self.chain = self.chain | {out.tensor} if fused else set()

    def parts(self, node: Node, bits: int) -> list[tuple[str, Operand]]:
        """Note a concatenation, and return its inputs with their places in it."""
        axis, start, parts = node.attrs["axis"], 0, []
        whole = self.tensors.store(node.name, node.output.shape, bits, node.output.dtype)
        for name in node.inputs:
            shape = self.graph.shape(name)
            view = whole.view.slice(axis, start, start + shape[axis])
            parts.append((name, replace(whole, view=view, elements=prod(shape))))
            start += shape[axis]
        return parts

    def write(self, node: Node, bits: int, along: Sequence[str] = ()) -> Operand:
        """Note what a node writes, and return it as its layer writes it."""
        out = self.tensors.store(node.name, node.output.shape, bits, node.output.dtype)
        return self.tensors.out(out, node.output.shape, along)

    def append(
        self,
        node: Node,
        inputs: Sequence[Operand],
        size: tuple[int, int],
        out: Operand,
        unit: Unit,
        streams: Sequence[str] = (),
    ) -> None:
        """Append the layer of a node, fused where one of `streams` comes from the array."""
        fused = unit.streams and self.is_fused(streams, size)
        spec, name = node.attrs.get("unit"), self.layer_name(node)
        self.layers.append(
            VectorLayer(name, node.op, *size, tuple(inputs), out, fused, unit.stem, spec)
        )
        self.chain = self.chain | {node.name} if fused else set()

    def layer_name(self, node: Node) -> str:
        """Matrix products have the module's name; what follows them says what it does."""
        taken = {layer.name for layer in self.layers}
        return f"{node.name}.{node.op}" if node.name in taken else node.name


def unit_of_node(node: Node) -> Unit:
    """Return the unit that computes a node."""
    try:
        if "unit" in node.attrs:
            return unit_of_spec(node.attrs["unit"])
        return unit_of_op(node.op)
    except SpecError as error:
        raise GraphError(f"{node.name} ({node.op}): {error}") from error


def code_bits(node: Node) -> int:
    """Width of the codes that a node writes."""
    quant = node.output.quant
    return int(quant.bits)
