"""A torch module as a graph, through `torch.export`.

Names come from the module path: the linear layer `blocks.3.attn.qkv` is the node
`blocks.3.attn.qkv`; an operation written inside a module's forward is called
`<module path>.<operation>`, numbered from the second on.

What does not depend on the image (position tables, index arithmetic, masks) is computed here, by
torch, and becomes constants.
"""

import logging
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any, cast

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from hwq.errors import GraphError, ImportGraphError
from hwq.graph.aten.builder import Builder, Refused, Value, module_path
from hwq.graph.aten.elementwise import ELEMENTWISE
from hwq.graph.aten.movement import MOVEMENT
from hwq.graph.aten.products import PRODUCTS
from hwq.graph.aten.rules import Rule, arguments, translate
from hwq.graph.ir import Graph
from hwq.graph.verify import verify

RULES: Mapping[str, Rule] = {**PRODUCTS, **ELEMENTWISE, **MOVEMENT}
"""ATen overload, "add.Tensor" -> what it becomes."""

# calls that say what must hold, which the export has checked
_ASSERTIONS = frozenset({"_assert_tensor_metadata.default", "_assert_async.msg"})


@dataclass(frozen=True, eq=False)
class Import:
    """A graph, and the program that it must be equal to.

    Parameters
    ----------
    graph : Graph
        Float graph with input "image" and constants named as in `module.state_dict()`.
    program : ExportedProgram
        What torch exported.
    names : Mapping[fx.Node, str]
        Call in the program -> the tensor of the graph that it returns, where it is one.
    """

    graph: Graph
    program: ExportedProgram
    names: Mapping[fx.Node, str]


def import_torch(module: nn.Module, input_shape: Sequence[int], name: str) -> Graph:
    """Import a module in eval mode as a verified graph; see `trace`."""
    return trace(module, input_shape, name).graph


def trace(module: nn.Module, input_shape: Sequence[int], name: str) -> Import:
    """Import a module in eval mode.

    Parameters
    ----------
    module : nn.Module
        A network of one input; it is switched to eval mode.
    input_shape : sequence of int
        Shape of one image with its leading 1: (1, channels, height, width).
    name : str
        The graph's name.

    Raises
    ------
    ImportGraphError
        When torch cannot export the module, or it uses an operation, or an argument of one, that
        the graph does not have; the message names operation, module path and model.
    """
    example = torch.zeros(tuple(input_shape))
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(module.eval(), (example,), strict=False)
    except Exception as error:  # torch.export has no common base of its errors
        raise ImportGraphError(f"torch cannot export model {name!r}: {_reason(error)}") from error
    return _Importer(_simplify(program), name).run()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from writing to the terminal: what goes wrong comes back as an error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Return the first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def overload(call: fx.Node) -> str:
    """Return "add.Tensor" for a call of `aten.add.Tensor`."""
    return str(call.target).removeprefix("aten.")


def placeholders(program: ExportedProgram) -> Iterator[tuple[fx.Node, str, torch.Tensor | None]]:
    """Yield the inputs of a program's graph: node, its name in the module, its tensor.

    The tensor is None for what the caller of the module passes.
    """
    signature = program.graph_signature
    tables = (
        signature.inputs_to_parameters,
        signature.inputs_to_buffers,
        signature.inputs_to_lifted_tensor_constants,
    )
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = next((table[node.name] for table in tables if node.name in table), None)
            if name is None:
                yield node, node.name, None
            else:
                tensor = program.state_dict.get(name, program.constants.get(name))
                yield node, name, cast(torch.Tensor, tensor).detach()


def _simplify(program: ExportedProgram) -> ExportedProgram:
    """Rewrite a program in terms of known calls, by torch's own decompositions where it has them.

    This also makes what is written in place a value of its own, and dissolves regions (autocast,
    no_grad). A program of known calls only is returned as it is: rewriting takes a second trace.
    """
    unknown = [call for call in _image_calls(program) if not _is_known(call)]
    if not unknown:
        return program
    table = torch.export.default_decompositions()
    targets = {cast(Any, call.target) for call in unknown}
    simplified: ExportedProgram = program.run_decompositions(
        {target: table[target] for target in targets if target in table}
    )
    return simplified


def _is_known(call: fx.Node) -> bool:
    return call.target is operator.getitem or overload(call) in RULES or _asserts(call)


def _asserts(call: fx.Node) -> bool:
    return overload(call) in _ASSERTIONS


def _image_calls(program: ExportedProgram) -> Iterator[fx.Node]:
    """Yield the calls that depend on the image."""
    reached = {node for node, _, tensor in placeholders(program) if tensor is None}
    for node in program.graph.nodes:
        if node.op == "call_function" and reached.intersection(node.all_input_nodes):
            reached.add(node)
            # what is written in place depends on the image from then on
            if _writes(node):
                reached.update(node.all_input_nodes[:1])
            yield node


def _writes(call: fx.Node) -> bool:
    schema = getattr(call.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


class _Importer:
    """Walks one exported program, computes its constants and collects nodes."""

    def __init__(self, program: ExportedProgram, name: str) -> None:
        self.program = program
        self.name = name
        self.builder = Builder()
        self.values: dict[fx.Node, Any] = {}

    def run(self) -> Import:
        for node, name, tensor in placeholders(self.program):
            self.values[node] = self._placeholder(node, name, tensor)
        with torch.no_grad():
            for node in self.program.graph.nodes:
                if node.op == "call_function":
                    self.values[node] = self._call(node)
        builder = self.builder
        graph = Graph(self.name, tuple(builder.inputs), builder.ordered_constants, (), ())
        graph = graph.rebuild(builder.nodes.values(), outputs=self._outputs())
        names = {
            node: value.name for node, value in self.values.items() if isinstance(value, Value)
        }
        return Import(verify(graph), self.program, names)

    def _placeholder(self, node: fx.Node, name: str, tensor: torch.Tensor | None) -> Any:
        if tensor is not None:
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                raise ImportGraphError(f"{name} of model {self.name!r} is {tensor.dtype}")
            # what the module computes in place here must not change the module
            value = tensor.clone() if name in self.program.graph_signature.buffers else tensor
            self.builder.parameter(name, value)
            return value
        if not isinstance(node.meta.get("val"), torch.Tensor):
            raise ImportGraphError(f"model {self.name!r} reads {name!r}, which is no tensor")
        if self.builder.inputs:
            raise ImportGraphError(f"model {self.name!r} has more than one input: {name!r}")
        return self.builder.image(node.meta["val"].shape)

    def _outputs(self) -> tuple[str, ...]:
        by_name = {node.name: node for node in self.values}
        outputs = []
        for name in self.program.graph_signature.user_outputs:
            # what a module returns besides tensors stands here as itself
            value = self.values.get(by_name[name]) if name in by_name else None
            if isinstance(value, Value):
                outputs.append(value.name)
            elif isinstance(name, str):
                raise ImportGraphError(
                    f"output {name!r} of model {self.name!r} does not depend on the image"
                )
        if not outputs:
            raise ImportGraphError(f"model {self.name!r} returns no tensor")
        return tuple(outputs)

    def _call(self, node: fx.Node) -> Any:
        args, kwargs = pytree.tree_map_only(
            fx.Node, self.values.__getitem__, (node.args, node.kwargs)
        )
        leaves = pytree.tree_leaves((args, kwargs))
        constant = node.target is operator.getitem or not any(isinstance(x, Value) for x in leaves)
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        try:
            if constant and not random:
                return cast(Any, node.target)(*args, **kwargs)
            return self._translate(node)
        except (Refused, GraphError) as error:
            raise ImportGraphError(
                f"operation {node.target} in module {module_path(node) or '(root)'!r} of model "
                f"{self.name!r}: {error}"
            ) from error

    def _translate(self, node: fx.Node) -> Any:
        if _asserts(node):
            return None
        rule = RULES.get(overload(node))
        if rule is None:
            raise Refused("it has no counterpart in the graph")
        for result in pytree.tree_leaves(node.meta["val"]):
            if result.dtype != torch.float32:
                raise Refused(f"it computes in {result.dtype}, not in torch.float32")
        self.builder.call = node
        given = pytree.tree_map_only(fx.Node, self.values.__getitem__, arguments(node))
        return translate(self.builder, rule, given)
