"""What a float graph means: torch, one function per operation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node
from hwq.graph.place import place

Function = Callable[[Node, Sequence[Tensor]], Tensor]


def _layer_norm(node: Node, x: Sequence[Tensor]) -> Tensor:
    weight, bias = (*x[1:], None, None)[:2]
    if not node.attrs["centered"]:
        normalised = F.rms_norm(x[0], x[0].shape[-1:], weight, node.attrs["eps"])
        return normalised if bias is None else normalised + bias
    return F.layer_norm(x[0], x[0].shape[-1:], weight, bias, node.attrs["eps"])


def _conv2d(node: Node, x: Sequence[Tensor]) -> Tensor:
    bias = x[2] if len(x) > 2 else None
    return F.conv2d(x[0], x[1], bias, node.attrs["stride"], node.attrs["padding"])


def _softmax(node: Node, x: Sequence[Tensor]) -> Tensor:
    scale = log(2.0) if node.attrs["base"] == 2 else 1.0
    return torch.softmax(x[0] * scale, -1)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}

FLOAT_OPS: Mapping[str, Function] = {
    "linear": lambda node, x: F.linear(*x),
    "conv2d": _conv2d,
    "matmul": lambda node, x: torch.matmul(x[0], x[1]) * node.attrs["alpha"],
    "softmax": _softmax,
    "activation": lambda node, x: ACTIVATIONS[node.attrs["function"]](x[0]),
    "layer_norm": _layer_norm,
    "add": lambda node, x: x[0] + x[1],
    "mul": lambda node, x: x[0] * x[1],
    "mean": lambda node, x: x[0].mean(node.attrs["axis"], keepdim=node.attrs["keepdim"]),
    "reshape": lambda node, x: x[0].reshape(node.attrs["shape"]),
    "permute": lambda node, x: x[0].permute(node.attrs["axes"]),
    "slice": lambda node, x: x[0].narrow(
        node.attrs["axis"], node.attrs["start"], node.attrs["stop"] - node.attrs["start"]
    ),
    "select": lambda node, x: x[0].select(node.attrs["axis"], node.attrs["index"]),
    "expand": lambda node, x: x[0].expand(node.attrs["shape"]),
    "concat": lambda node, x: torch.cat(list(x), node.attrs["axis"]),
}


class TorchExecutor:
    """Runs a graph in torch on a batch of images.

    Parameters
    ----------
    graph : Graph
        Float or, with the operations of the fake-quant executor, quantised graph.
    functions : Mapping, optional
        What each operation does; a function maps (node, inputs) to the output.
    device : str or torch.device, optional
        Where it runs.

    Notes
    -----
    The graph describes one image; a batch is run by `torch.vmap`, so a function never sees the
    batch dimension.
    """

    def __init__(
        self,
        graph: Graph,
        functions: Mapping[str, Function] = FLOAT_OPS,
        device: str | torch.device = "cpu",
    ) -> None:
        for node in graph.nodes:
            if node.op not in functions:
                raise GraphError(f"{node.name}: {type(self).__name__} cannot execute {node.op!r}")
        self.device = torch.device(device)
        self.graph = place(graph, self.device)
        self.functions = functions
        self.constants = {
            name: torch.tensor(value, device=self.device) for name, value in graph.constants.items()
        }

    def __call__(self, images: Tensor, fetch: Sequence[str] = ()) -> dict[str, Tensor]:
        """Execute on a batch.

        Parameters
        ----------
        images : float32[B, ...]
            One row per image, without the leading 1 of the graph's input.
        fetch : sequence of str, optional
            Tensors to return; default: the graph's outputs.

        Returns
        -------
        dict[str, Tensor]
            Each with B in front and the graph's leading 1 removed where it has one.
        """
        names = tuple(fetch) or self.graph.outputs

        def one(image: Tensor) -> dict[str, Tensor]:
            return self.run({self.graph.inputs[0].name: image[None]}, names)

        fetched = torch.vmap(one)(images.to(self.device))
        return {
            name: value.squeeze(1) if self.graph.shape(name)[:1] == (1,) else value
            for name, value in fetched.items()
        }

    def run(self, inputs: Mapping[str, Tensor], fetch: Sequence[str]) -> dict[str, Tensor]:
        """Execute on one image, in the graph's own shapes."""
        known = {**self.constants, **inputs}
        fetched = {name: known[name] for name in fetch if name in known}
        fetched |= {name: value for name, value in self.steps(inputs) if name in fetch}
        return {name: fetched[name] for name in fetch}

    def steps(self, inputs: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Execute on one image, yielding each node's name and value; frees it after last use."""
        values: dict[str, Any] = {**self.constants, **inputs}
        remaining = {name: len(self.graph.consumers(name)) for name in self.graph.by_name}
        for node in self.graph.nodes:
            operands = [values[name] for name in node.inputs]
            values[node.name] = self.functions[node.op](node, operands)
            yield node.name, values[node.name]
            for name in dict.fromkeys(node.inputs):
                if name in remaining:
                    remaining[name] -= 1
                    if not remaining[name]:
                        del values[name]
