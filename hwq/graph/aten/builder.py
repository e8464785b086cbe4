"""The graph that an import appends to, one ATen call after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from hwq.graph.ir import Constant, Node, Tensor, constant_like
from hwq.graph.names import escape
from hwq.graph.ops import OPS

# operations that are the whole of a leaf module and so may bear its name
_LEAVES = frozenset({"linear", "conv2d", "layer_norm", "activation"})


@dataclass(frozen=True, slots=True)
class Value:
    """A float tensor that depends on the image: a node of the graph, or its input."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


Operand = Value | torch.Tensor | int | float
"""What an operation takes: a tensor of the graph, a constant tensor or a number."""


class Refused(Exception):
    """Why a call cannot be expressed; the import says where the call is."""


class Builder:
    """Nodes and constants so far.

    Attributes
    ----------
    call : fx.Node
        The call that is being imported; what is appended is named after its module.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.constants: dict[str, Constant] = {}
        self.inputs: list[Tensor] = []
        self.call: fx.Node
        # a tensor stays alive with its name, so that its address is nobody else's
        self._named: dict[tuple[Any, ...], tuple[torch.Tensor, str]] = {}
        self._reserved: dict[str, None] = {"image": None}

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of what the call returns."""
        return tuple(int(size) for size in self.call.meta["val"].shape)

    @property
    def ordered_constants(self) -> dict[str, Constant]:
        """The constants: parameters in the module's order, then what was computed."""
        order = [name for name in self._reserved if name in self.constants]
        return {name: self.constants[name] for name in dict.fromkeys([*order, *self.constants])}

    def image(self, shape: Sequence[int]) -> Value:
        """Append the network's one input."""
        self.inputs.append(Tensor("image", tuple(shape)))
        return Value("image", tuple(shape))

    def parameter(self, name: str, tensor: torch.Tensor) -> None:
        """Say how a parameter or buffer is called, should a node read it."""
        name = escape(name)
        while name in self._reserved:
            name += "_"
        self._reserved[name] = None
        self._named[_identity(tensor)] = (tensor, name)

    def emit(self, op: str, operands: Sequence[Operand], **attrs: Any) -> Value:
        """Append a node; movement that moves nothing is its operand."""
        values = [self.value(operand) for operand in operands]
        shape = OPS[op].infer([value.shape for value in values], attrs)
        still = attrs.get("axes", ()) == tuple(range(len(attrs.get("axes", ()))))
        if OPS[op].movement and still and shape == values[0].shape:
            return values[0]
        name = self._free(op)
        inputs = tuple(value.name for value in values)
        self.nodes[name] = Node(op, inputs, Tensor(name, shape), attrs)
        return Value(name, shape)

    def value(self, operand: Operand) -> Value:
        """Return the operand as a tensor of the graph; what is none becomes a constant."""
        if isinstance(operand, Value):
            return operand
        tensor = operand if isinstance(operand, torch.Tensor) else torch.tensor(float(operand))
        if tensor.is_complex():
            raise Refused(f"it reads a constant of type {tensor.dtype}")
        _, name = self._named.get(_identity(tensor), (tensor, None))
        if name is None:
            name = self._free("constant")
            self._named[_identity(tensor)] = (tensor, name)
        if name not in self.constants:
            array = constant_like(tensor.detach().to("cpu", torch.float32).numpy())
            if not np.isfinite(array).all():
                raise Refused(f"constant {name} holds values that are not finite")
            self.constants[name] = array
        return Value(name, tuple(tensor.shape))

    def _free(self, op: str) -> str:
        """Return an unused name: the module's own for a leaf, numbered from the second on."""
        path = module_path(self.call)
        if op in _LEAVES and path and self._is_free(escape(path)):
            return escape(path)
        base = escape(f"{path}.{op}".lstrip("."))
        name, number = base, 0
        while not self._is_free(name):
            number += 1
            name = f"{base}_{number}"
        return name

    def _is_free(self, name: str) -> bool:
        return not (name in self._reserved or name in self.nodes or name in self.constants)


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return the same for two tensors that are the same numbers in memory, at the same time."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor._version


def module_path(call: fx.Node) -> str:
    """Path of the innermost module whose forward made the call."""
    stack = call.meta.get("nn_module_stack") or {}
    for path, _ in reversed(list(stack.values())):
        return str(path).split("@")[0]
    return ""
