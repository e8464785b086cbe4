"""A torch module as a graph, through `torch.export`.

Names come from the module path: the linear layer `blocks.3.attn.qkv` is the node
`blocks.3.attn.qkv`; an operation written inside a module's forward is called
`<module path>.<operation>`, numbered from the second on.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import fx, nn

from hwq.errors import ImportGraphError
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
                outputs = tuple(self.values[value] for value in _args(node)[0])
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
            sequence, index = _args(node)
            return self.values[sequence][index]
        key = str(node.target).removeprefix("aten.").split(".")[0]
        if key in _IDENTITIES:
            name: str = self.values[node.all_input_nodes[0]]
            return name
        handler = _HANDLERS.get(key)
        if handler is None:
            raise ImportGraphError(
                f"operation {node.target} in module {_path(node) or '(root)'!r} of model "
                f"{self.name!r} has no counterpart in the graph"
            )
        result: Any = handler(self, node)
        return result

    def argument(self, node: fx.Node, index: int, name: str, default: Any = None) -> Any:
        """Value of an argument given by position or by name."""
        if index < len(_args(node)):
            return _args(node)[index]
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
        path = _path(node)
        base = path if op in _LEAVES and path and path not in self.nodes else f"{path}.{op}"
        base = base.lstrip(".")
        name, number = base, 0
        while name in self.nodes or name in self.constants:
            number += 1
            name = f"{base}_{number}"
        return name


Handler = Callable[[_Importer, fx.Node], Any]


def _args(node: fx.Node) -> tuple[Any, ...]:
    """Positional arguments, whose types are the operation's own."""
    return cast(tuple[Any, ...], node.args)


def _path(node: fx.Node) -> str:
    """Path of the innermost module whose forward called `node`."""
    stack = node.meta.get("nn_module_stack", {})
    for path, _ in reversed(list(stack.values())):
        return str(path).split("@")[0]
    return ""


def _rank(importer: _Importer, node: fx.Node) -> int:
    return len(importer.shape(importer.values[node.all_input_nodes[0]]))


def _plain(op: str, **fixed: Any) -> Handler:
    """Return a handler of an operation whose tensor arguments come first and that needs no more."""

    def handle(importer: _Importer, node: fx.Node) -> str:
        inputs = [importer.values[value] for value in _args(node) if isinstance(value, fx.Node)]
        return importer.emit(node, op, inputs, **fixed)

    return handle


def _pair(op: str) -> Handler:
    def handle(importer: _Importer, node: fx.Node) -> str:
        inputs = [importer.tensor(node, value) for value in _args(node)[:2]]
        return importer.emit(node, op, inputs)

    return handle


def _divide(importer: _Importer, node: fx.Node) -> str:
    x, divisor = _args(node)[:2]
    if isinstance(divisor, fx.Node):
        raise ImportGraphError(f"division by a tensor in module {_path(node)!r}")
    factor = importer.tensor(node, 1.0 / float(divisor))
    return importer.emit(node, "mul", [importer.tensor(node, x), factor])


def _conv2d(importer: _Importer, node: fx.Node) -> str:
    groups = importer.argument(node, 6, "groups", 1)
    dilation = importer.argument(node, 5, "dilation", [1, 1])
    if groups != 1 or set(dilation) != {1}:
        raise ImportGraphError(
            f"convolution {_path(node)!r} has groups={groups}, dilation={dilation}; only 1 is known"
        )
    padding = importer.argument(node, 4, "padding", [0, 0])
    if isinstance(padding, str):
        raise ImportGraphError(f"convolution {_path(node)!r} has padding {padding!r}")
    stride = importer.argument(node, 3, "stride", [1, 1])
    inputs = [importer.values[value] for value in _args(node)[:3] if value is not None]
    return importer.emit(node, "conv2d", inputs, stride=tuple(stride), padding=tuple(padding))


def _layer_norm(importer: _Importer, node: fx.Node) -> str:
    x, normalized = _args(node)[:2]
    if len(normalized) != 1:
        raise ImportGraphError(f"layer_norm {_path(node)!r} over more than the last axis")
    parameters = [importer.argument(node, 2, "weight"), importer.argument(node, 3, "bias")]
    inputs = [importer.values[value] for value in (x, *parameters) if value is not None]
    eps = float(importer.argument(node, 4, "eps", 1e-5))
    return importer.emit(node, "layer_norm", inputs, eps=eps)


def _softmax(importer: _Importer, node: fx.Node) -> str:
    axis = int(_args(node)[1])
    if axis % _rank(importer, node) != _rank(importer, node) - 1:
        raise ImportGraphError(
            f"softmax in module {_path(node)!r} is over axis {axis}, not the last"
        )
    return importer.emit(node, "softmax", [importer.values[node.all_input_nodes[0]]], base="e")


def _gelu(importer: _Importer, node: fx.Node) -> str:
    approximate = importer.argument(node, 1, "approximate", "none")
    if approximate != "none":
        raise ImportGraphError(f"gelu {_path(node)!r} is approximate={approximate!r}, not exact")
    return importer.emit(node, "gelu", [importer.values[node.all_input_nodes[0]]])


def _reshape(importer: _Importer, node: fx.Node) -> str:
    shape = tuple(int(size) for size in node.meta["val"].shape)
    return importer.emit(node, "reshape", [importer.values[node.all_input_nodes[0]]], shape=shape)


def _expand(importer: _Importer, node: fx.Node) -> str:
    shape = tuple(int(size) for size in node.meta["val"].shape)
    return importer.emit(node, "expand", [importer.values[node.all_input_nodes[0]]], shape=shape)


def _permute(importer: _Importer, node: fx.Node) -> str:
    axes = tuple(int(axis) % _rank(importer, node) for axis in _args(node)[1])
    return importer.emit(node, "permute", [importer.values[node.all_input_nodes[0]]], axes=axes)


def _transpose(importer: _Importer, node: fx.Node) -> str:
    axes = list(range(_rank(importer, node)))
    first, second = (int(axis) for axis in _args(node)[1:3])
    axes[first], axes[second] = axes[second], axes[first]
    source = importer.values[node.all_input_nodes[0]]
    return importer.emit(node, "permute", [source], axes=tuple(axes))


def _unbind(importer: _Importer, node: fx.Node) -> tuple[str, ...]:
    axis = int(importer.argument(node, 1, "dim", 0)) % _rank(importer, node)
    source = importer.values[node.all_input_nodes[0]]
    count = importer.shape(source)[axis]
    return tuple(
        importer.emit(node, "select", [source], axis=axis, index=index) for index in range(count)
    )


def _split(importer: _Importer, node: fx.Node) -> tuple[str, ...]:
    source = importer.values[node.all_input_nodes[0]]
    axis = int(importer.argument(node, 2, "dim", 0)) % _rank(importer, node)
    sizes = [int(value.shape[axis]) for value in node.meta["val"]]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return tuple(
        importer.emit(node, "slice", [source], axis=axis, start=start, stop=start + size)
        for start, size in zip(starts, sizes, strict=True)
    )


def _slice(importer: _Importer, node: fx.Node) -> str:
    axis = int(importer.argument(node, 1, "dim", 0)) % _rank(importer, node)
    if importer.argument(node, 4, "step", 1) != 1:
        raise ImportGraphError(f"slice with a step in module {_path(node)!r}")
    source = importer.values[node.all_input_nodes[0]]
    size = importer.shape(source)[axis]
    start, stop, _ = slice(
        importer.argument(node, 2, "start"), importer.argument(node, 3, "end")
    ).indices(size)
    return importer.emit(node, "slice", [source], axis=axis, start=start, stop=stop)


def _select(importer: _Importer, node: fx.Node) -> str:
    source = importer.values[node.all_input_nodes[0]]
    axis, index = (int(value) for value in _args(node)[1:3])
    axis %= _rank(importer, node)
    index %= importer.shape(source)[axis]
    return importer.emit(node, "select", [source], axis=axis, index=index)


def _concat(importer: _Importer, node: fx.Node) -> str:
    sources = [importer.values[value] for value in _args(node)[0]]
    axis = int(importer.argument(node, 1, "dim", 0)) % len(importer.shape(sources[0]))
    return importer.emit(node, "concat", sources, axis=axis)


def _mean(importer: _Importer, node: fx.Node) -> str:
    axes = [int(axis) for axis in _args(node)[1]]
    if len(axes) != 1:
        raise ImportGraphError(
            f"mean over axes {axes} in module {_path(node)!r}; only one is known"
        )
    keepdim = bool(importer.argument(node, 2, "keepdim", False))
    source = importer.values[node.all_input_nodes[0]]
    axis = axes[0] % _rank(importer, node)
    return importer.emit(node, "mean", [source], axis=axis, keepdim=keepdim)


def _attention(importer: _Importer, node: fx.Node) -> str:
    """Scaled dot-product attention, written out."""
    q, k, v = (importer.values[value] for value in _args(node)[:3])
    mask = importer.argument(node, 3, "attn_mask")
    if importer.argument(node, 5, "is_causal", False):
        raise ImportGraphError(f"causal attention in module {_path(node)!r}")
    depth = importer.shape(q)[-1]
    scale = importer.argument(node, 6, "scale")
    rank = len(importer.shape(k))
    axes = (*range(rank - 2), rank - 1, rank - 2)
    k = importer.emit(node, "permute", [k], axes=axes)
    alpha = float(depth**-0.5 if scale is None else scale)
    scores = importer.emit(node, "matmul", [q, k], alpha=alpha)
    if mask is not None:
        scores = importer.emit(node, "add", [scores, importer.values[mask]])
    weights = importer.emit(node, "softmax", [scores], base="e")
    return importer.emit(node, "matmul", [weights, v], alpha=1.0)


_IDENTITIES = frozenset(
    {"dropout", "contiguous", "clone", "alias", "detach", "detach_", "lift_fresh_copy", "to"}
)

_HANDLERS: dict[str, Handler] = {
    "linear": _plain("linear"),
    "matmul": _plain("matmul", alpha=1.0),
    "conv2d": _conv2d,
    "layer_norm": _layer_norm,
    "softmax": _softmax,
    "gelu": _gelu,
    "add": _pair("add"),
    "mul": _pair("mul"),
    "div": _divide,
    "mean": _mean,
    "reshape": _reshape,
    "view": _reshape,
    "flatten": _reshape,
    "unflatten": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "permute": _permute,
    "transpose": _transpose,
    "unbind": _unbind,
    "split": _split,
    "chunk": _split,
    "split_with_sizes": _split,
    "slice": _slice,
    "select": _select,
    "cat": _concat,
    "expand": _expand,
    "scaled_dot_product_attention": _attention,
}
