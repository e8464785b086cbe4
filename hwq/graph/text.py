"""Canonical text of a graph: stable, one line per node, made to be compared."""

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from hwq.graph.ir import Graph, Node, Tensor


def to_text(graph: Graph) -> str:
    """Return the graph as text.

    Attributes are sorted; arrays are shown as type, shape and the first 8 digits of the SHA-256
    of their bytes, so equal text means equal networks.
    """
    lines = [f"graph {graph.name}"]
    lines += [f"  input {_tensor(tensor)}" for tensor in graph.inputs]
    lines += [f"  constant {name}: {describe(graph.constants[name])}" for name in graph.constants]
    lines += [f"  {_node(node)}" for node in graph.nodes]
    lines.append(f"  return {', '.join(graph.outputs)}")
    return "\n".join(lines) + "\n"


def describe(value: Any) -> str:
    """Text of an attribute: equal values give equal text."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return repr(value.item())
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:8]
        return f"{value.dtype}{list(value.shape)}#{digest}"
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(
            f"{f.name}={describe(getattr(value, f.name))}" for f in fields(value) if f.repr
        )
        return f"{type(value).__name__}({inner})"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(describe(item) for item in value) + ")"
    return repr(value)


def _tensor(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape))
    quant = "" if tensor.quant is None else f" as {describe(tensor.quant)}"
    return f"{tensor.name}: {tensor.dtype}[{shape}]{quant}"


def _node(node: Node) -> str:
    attrs = ", ".join(f"{key}={describe(node.attrs[key])}" for key in sorted(node.attrs))
    braces = f" {{{attrs}}}" if attrs else ""
    return f"{_tensor(node.output)} = {node.op}({', '.join(node.inputs)}){braces}"
