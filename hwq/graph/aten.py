"""ATen operations as nodes of the graph: what each one is called here, and its arguments."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from torch import fx

from hwq.errors import ImportGraphError


class Importer(Protocol):
    """What a handler may ask of the import it is part of."""

    values: dict[fx.Node, Any]

    def argument(self, node: fx.Node, index: int, name: str, default: Any = None) -> Any:
        """Value of an argument given by position or by name."""
        ...

    def tensor(self, node: fx.Node, value: Any) -> str:
        """Name of a tensor argument; a number becomes a constant."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        ...

    def emit(self, node: fx.Node, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Append one node and return its name."""
        ...


Handler = Callable[[Importer, fx.Node], Any]


def _args(node: fx.Node) -> tuple[Any, ...]:
    """Positional arguments, whose types are the operation's own."""
    return cast(tuple[Any, ...], node.args)


def module_path(node: fx.Node) -> str:
    """Path of the innermost module whose forward called `node`."""
    stack = node.meta.get("nn_module_stack", {})
    for path, _ in reversed(list(stack.values())):
        return str(path).split("@")[0]
    return ""


def _rank(importer: Importer, node: fx.Node) -> int:
    return len(importer.shape(importer.values[node.all_input_nodes[0]]))


def _plain(op: str, **fixed: Any) -> Handler:
    """Return a handler of an operation whose tensor arguments come first and that needs no more."""

    def handle(importer: Importer, node: fx.Node) -> str:
        inputs = [importer.values[value] for value in _args(node) if isinstance(value, fx.Node)]
        return importer.emit(node, op, inputs, **fixed)

    return handle


def _pair(op: str) -> Handler:
    def handle(importer: Importer, node: fx.Node) -> str:
        inputs = [importer.tensor(node, value) for value in _args(node)[:2]]
        return importer.emit(node, op, inputs)

    return handle


def _divide(importer: Importer, node: fx.Node) -> str:
    x, divisor = _args(node)[:2]
    if isinstance(divisor, fx.Node):
        raise ImportGraphError(f"division by a tensor in module {module_path(node)!r}")
    factor = importer.tensor(node, 1.0 / float(divisor))
    return importer.emit(node, "mul", [importer.tensor(node, x), factor])


def _conv2d(importer: Importer, node: fx.Node) -> str:
    groups = importer.argument(node, 6, "groups", 1)
    dilation = importer.argument(node, 5, "dilation", [1, 1])
    if groups != 1 or set(dilation) != {1}:
        raise ImportGraphError(
            f"convolution {module_path(node)!r} has groups={groups}, dilation={dilation}; "
            "only 1 is known"
        )
    padding = importer.argument(node, 4, "padding", [0, 0])
    if isinstance(padding, str):
        raise ImportGraphError(f"convolution {module_path(node)!r} has padding {padding!r}")
    stride = importer.argument(node, 3, "stride", [1, 1])
    inputs = [importer.values[value] for value in _args(node)[:3] if value is not None]
    return importer.emit(node, "conv2d", inputs, stride=tuple(stride), padding=tuple(padding))


def _layer_norm(importer: Importer, node: fx.Node) -> str:
    x, normalized = _args(node)[:2]
    if len(normalized) != 1:
        raise ImportGraphError(f"layer_norm {module_path(node)!r} over more than the last axis")
    parameters = [importer.argument(node, 2, "weight"), importer.argument(node, 3, "bias")]
    inputs = [importer.values[value] for value in (x, *parameters) if value is not None]
    eps = float(importer.argument(node, 4, "eps", 1e-5))
    return importer.emit(node, "layer_norm", inputs, eps=eps)


def _softmax(importer: Importer, node: fx.Node) -> str:
    axis = int(_args(node)[1])
    if axis % _rank(importer, node) != _rank(importer, node) - 1:
        raise ImportGraphError(
            f"softmax in module {module_path(node)!r} is over axis {axis}, not the last"
        )
    return importer.emit(node, "softmax", [importer.values[node.all_input_nodes[0]]], base="e")


def _gelu(importer: Importer, node: fx.Node) -> str:
    approximate = importer.argument(node, 1, "approximate", "none")
    if approximate != "none":
        raise ImportGraphError(
            f"gelu {module_path(node)!r} is approximate={approximate!r}, not exact"
        )
    return importer.emit(node, "gelu", [importer.values[node.all_input_nodes[0]]])


def _reshape(importer: Importer, node: fx.Node) -> str:
    shape = tuple(int(size) for size in node.meta["val"].shape)
    return importer.emit(node, "reshape", [importer.values[node.all_input_nodes[0]]], shape=shape)


def _expand(importer: Importer, node: fx.Node) -> str:
    shape = tuple(int(size) for size in node.meta["val"].shape)
    return importer.emit(node, "expand", [importer.values[node.all_input_nodes[0]]], shape=shape)


def _permute(importer: Importer, node: fx.Node) -> str:
    axes = tuple(int(axis) % _rank(importer, node) for axis in _args(node)[1])
    return importer.emit(node, "permute", [importer.values[node.all_input_nodes[0]]], axes=axes)


def _transpose(importer: Importer, node: fx.Node) -> str:
    axes = list(range(_rank(importer, node)))
    first, second = (int(axis) for axis in _args(node)[1:3])
    axes[first], axes[second] = axes[second], axes[first]
    source = importer.values[node.all_input_nodes[0]]
    return importer.emit(node, "permute", [source], axes=tuple(axes))


def _unbind(importer: Importer, node: fx.Node) -> tuple[str, ...]:
    axis = int(importer.argument(node, 1, "dim", 0)) % _rank(importer, node)
    source = importer.values[node.all_input_nodes[0]]
    count = importer.shape(source)[axis]
    return tuple(
        importer.emit(node, "select", [source], axis=axis, index=index) for index in range(count)
    )


def _split(importer: Importer, node: fx.Node) -> tuple[str, ...]:
    source = importer.values[node.all_input_nodes[0]]
    axis = int(importer.argument(node, 2, "dim", 0)) % _rank(importer, node)
    sizes = [int(value.shape[axis]) for value in node.meta["val"]]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return tuple(
        importer.emit(node, "slice", [source], axis=axis, start=start, stop=start + size)
        for start, size in zip(starts, sizes, strict=True)
    )


def _slice(importer: Importer, node: fx.Node) -> str:
    axis = int(importer.argument(node, 1, "dim", 0)) % _rank(importer, node)
    if importer.argument(node, 4, "step", 1) != 1:
        raise ImportGraphError(f"slice with a step in module {module_path(node)!r}")
    source = importer.values[node.all_input_nodes[0]]
    size = importer.shape(source)[axis]
    start, stop, _ = slice(
        importer.argument(node, 2, "start"), importer.argument(node, 3, "end")
    ).indices(size)
    return importer.emit(node, "slice", [source], axis=axis, start=start, stop=stop)


def _select(importer: Importer, node: fx.Node) -> str:
    source = importer.values[node.all_input_nodes[0]]
    axis, index = (int(value) for value in _args(node)[1:3])
    axis %= _rank(importer, node)
    index %= importer.shape(source)[axis]
    return importer.emit(node, "select", [source], axis=axis, index=index)


def _concat(importer: Importer, node: fx.Node) -> str:
    sources = [importer.values[value] for value in _args(node)[0]]
    axis = int(importer.argument(node, 1, "dim", 0)) % len(importer.shape(sources[0]))
    return importer.emit(node, "concat", sources, axis=axis)


def _mean(importer: Importer, node: fx.Node) -> str:
    axes = [int(axis) for axis in _args(node)[1]]
    if len(axes) != 1:
        raise ImportGraphError(
            f"mean over axes {axes} in module {module_path(node)!r}; only one is known"
        )
    keepdim = bool(importer.argument(node, 2, "keepdim", False))
    source = importer.values[node.all_input_nodes[0]]
    axis = axes[0] % _rank(importer, node)
    return importer.emit(node, "mean", [source], axis=axis, keepdim=keepdim)


def _attention(importer: Importer, node: fx.Node) -> str:
    """Scaled dot-product attention, written out."""
    q, k, v = (importer.values[value] for value in _args(node)[:3])
    mask = importer.argument(node, 3, "attn_mask")
    if importer.argument(node, 5, "is_causal", False):
        raise ImportGraphError(f"causal attention in module {module_path(node)!r}")
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


IDENTITIES = frozenset(
    {"dropout", "contiguous", "clone", "alias", "detach", "detach_", "lift_fresh_copy", "to"}
)

HANDLERS: dict[str, Handler] = {
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
