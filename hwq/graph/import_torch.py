"""A torch module as a graph, through `torch.export`.

Names come from the module path: the linear layer `blocks.3.attn.qkv` is the node
`blocks.3.attn.qkv`; an operation written inside a module's forward is called
`<module path>.<operation>`, numbered from the second on.
"""

import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import fx, nn

from hwq.errors import ImportGraphError
from hwq.graph.aten import HANDLERS, IDENTITIES, module_path
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like
from hwq.graph.ops import OPS
from hwq.graph.verify import verify

# operations that are the whole of a leaf module and so may bear its name
_LEAVES = frozenset({"linear", "conv2d", "layer_norm", "gelu"})


def import_torch(module: nn.Module, input_shape: Sequence[int], name: str) -> Graph:
    """Import a module in eval mode as a verified graph.

    Parameters
    ----------
    module : nn.Module
        A network of one input; it is switched to eval mode.
    input_shape : sequence of int
        Shape of one image with its leading 1: (1, channels, height, width).
    name : str
        The graph's name.

    Returns
    -------
    Graph
        Float graph with input "image" and constants named as in `module.state_dict()`.

    Raises
    ------
    ImportGraphError
        When torch cannot export the module, or it uses an operation that the graph does not have;
        the message names the operation and the module path.
    """
    example = torch.zeros(tuple(input_shape))
    try:
        with torch.no_grad():
            program = torch.export.export(module.eval(), (example,), strict=False)
    except Exception as error:  # torch.export has no common base of its errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ImportGraphError(f"torch.export cannot export model {name!r}: {reason}") from error
    return verify(_Importer(program, name).run())


class _Importer:
    """Walks one exported program and collects nodes."""

    def __init__(self, program: torch.export.ExportedProgram, name: str) -> None:
        self.program = program
        self.name = name
        self.nodes: dict[str, Node] = {}
        self.constants: dict[str, Constant] = {}
        self.inputs: list[Tensor] = []
        self.values: dict[fx.Node, Any] = {}

    def run(self) -> Graph:
        outputs: tuple[str, ...] = ()
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "output":
                outputs = tuple(self.values[value] for value in node.args[0])
        graph = Graph(self.name, tuple(self.inputs), self.constants, (), ())
        return graph.rebuild(self.nodes.values(), outputs=outputs)

    def _placeholder(self, node: fx.Node) -> str:
        signature = self.program.graph_signature
        for table in (
            signature.inputs_to_parameters,
            signature.inputs_to_buffers,
            signature.inputs_to_lifted_tensor_constants,
        ):
            if node.name in table:
                name: str = table[node.name]
                source = self.program.state_dict.get(name, self.program.constants.get(name))
                self.constants[name] = constant_like(source.detach().cpu().numpy())
                return name
        if self.inputs:
            raise ImportGraphError(f"model {self.name!r} has more than one input: {node.name!r}")
        self.inputs.append(Tensor("image", tuple(node.meta["val"].shape)))
        return "image"

    def _call(self, node: fx.Node) -> Any:
        if node.target is operator.getitem:
            sequence, index = cast(tuple[fx.Node, int], node.args)
            return self.values[sequence][index]
        key = str(node.target).removeprefix("aten.").split(".")[0]
        if key in IDENTITIES:
            name: str = self.values[node.all_input_nodes[0]]
            return name
        handler = HANDLERS.get(key)
        if handler is None:
            raise ImportGraphError(
                f"operation {node.target} in module {module_path(node) or '(root)'!r} of model "
                f"{self.name!r} has no counterpart in the graph"
            )
        result: Any = handler(self, node)
        return result

    def argument(self, node: fx.Node, index: int, name: str, default: Any = None) -> Any:
        """Value of an argument given by position or by name."""
        if index < len(node.args):
            return node.args[index]
        return node.kwargs.get(name, default)

    def tensor(self, node: fx.Node, value: Any) -> str:
        """Name of a tensor argument; a number becomes a constant."""
        if isinstance(value, fx.Node):
            name: str = self.values[value]
            return name
        name = self._unique(node, "constant")
        self.constants[name] = constant_like(value)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self.nodes:
            return self.nodes[name].output.shape
        if name in self.constants:
            return self.constants[name].shape
        return self.inputs[0].shape

    def emit(self, node: fx.Node, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Append one node and return its name."""
        shape = OPS[op].infer([self.shape(name) for name in inputs], attrs)
        if OPS[op].movement and op != "permute" and shape == self.shape(inputs[0]):
            return inputs[0]
        name = self._unique(node, op)
        self.nodes[name] = Node(op, tuple(inputs), Tensor(name, shape), attrs)
        return name

    def _unique(self, node: fx.Node, op: str) -> str:
        path = module_path(node)
        base = path if op in _LEAVES and path and path not in self.nodes else f"{path}.{op}"
        base = base.lstrip(".")
        name, number = base, 0
        while name in self.nodes or name in self.constants:
            number += 1
            name = f"{base}_{number}"
        return name
