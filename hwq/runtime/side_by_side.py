"""The fake-quant and the integer graph side by side, each integer node on true inputs.

What a node reads are the fake-quant graph's own values as integers. Accumulators, outliers and
conversions have no counterpart there: they are run on the way from one tensor that both graphs
have to the next.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node
from hwq.graph.movement import MOVEMENT
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer
from hwq.runtime.fake_quant_executor import FAKE_QUANT_OPS
from hwq.runtime.float_executor import TorchExecutor
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.integers import to_double, to_real
from hwq.runtime.step import Array

Real = NDArray[np.float64]

_FACTOR_FRAC = 15  # of the mantissas that a scale predictor gives


class SideBySide:
    """Both graphs on one image.

    Parameters
    ----------
    quantised : Graph
        Hoisted, so that its names are the integer graph's.
    integer : Graph
        Lowered from it.

    Attributes
    ----------
    reals : dict[str, ndarray]
        What each `quantize` node read, until somebody takes it.
    visited : set[str]
        Integer nodes that have run.
    """

    def __init__(self, quantised: Graph, integer: Graph) -> None:
        self.executor = TorchExecutor(quantised, {**FAKE_QUANT_OPS, "quantize": self._quantize})
        self.fast = IntegerExecutor(integer)
        self.graph = integer
        self.reals: dict[str, Real] = {}
        self.visited: set[str] = set()
        self._corrections: dict[int | None, Tensor] = {}
        self._values: dict[str, Any] = {}
        self._codes: dict[str, Array] = {}
        self._outliers: dict[str, Array] = {}
        splits = {id(n.attrs["unit"]): n for n in integer.nodes if n.op == "outlier_split"}
        # codes and outliers are made by one unit
        self._splits = {
            node.name: splits[id(node.attrs["unit"])]
            for node in integer.nodes
            if node.op == "encode" and id(node.attrs["unit"]) in splits
        }
        self._readers = {name: len(integer.consumers(name)) for name in integer.by_name}

    def steps(self, image: NDArray[np.uint8]) -> Iterator[tuple[Node, Real, Real]]:
        """Yield each node that both graphs have, what its integers stand for, and should."""
        source = self.graph.inputs[0].name
        self._values = {**self.fast.constants, source: image[None]}
        pixels = torch.from_numpy(image).float()[None]
        with torch.no_grad():
            for name, fake in self.executor.steps({source: pixels}):
                node = self.graph.by_name.get(name)
                if node is not None:
                    output = self._run(node)
                    computed = self._decode(node, output)
                    self._keep(node, output, fake)
                    wanted = torch.exp2(fake) if node.op == "scale_predictor" else fake
                    yield node, computed, to_double(wanted)

    def _quantize(self, node: Node, x: Sequence[Tensor]) -> Tensor:
        """Quantise as the fake-quant graph does, and note the codes."""
        quantizer, known = node.quantizer, self.graph.by_name.get(node.name)
        if known is not None:
            index = quantizer.correction
            if index is not None and len(x) > 1:
                self._corrections[index] = x[1][..., index]
            codes = quantizer.corrected(self._corrections.get(index)).encode(x[0])
            self._codes[node.name] = codes.numpy().astype(known.output.dtype)
            self.reals[node.name] = to_double(x[0])
            if quantizer.side is not None:
                self._outliers[node.name] = quantizer.outliers(x[0]).numpy().astype(np.int16)
        return FAKE_QUANT_OPS["quantize"](node, x)

    def _run(self, node: Node) -> Array:
        """Run a node on true inputs, and before it what leads there."""
        for name in node.inputs:
            if name not in self._values:
                self._values[name] = self._run(self.graph.by_name[name])
        operands = [self._values[name] for name in node.inputs]
        try:
            output, _ = self.fast.functions[node.op](node, operands)
        except Exception as error:  # whatever a unit finds wrong with its inputs
            text = str(error) or type(error).__name__
            raise GraphError(f"{node.name} ({node.op}) cannot be executed: {text}") from error
        _check_output(node, output)
        self.visited.add(node.name)
        for name in dict.fromkeys(node.inputs):
            if name in self._readers:
                self._readers[name] -= 1
                if not self._readers[name]:
                    del self._values[name]
        return output

    def _keep(self, node: Node, output: Array, fake: Tensor) -> None:
        """Keep what the readers of a node shall see: the integers of the fake-quant tensor."""
        quant = node.output.quant
        true = output
        if node.name in self._codes:
            true = self._codes.pop(node.name)
        elif isinstance(quant, FixedPoint) and node.op not in MOVEMENT:
            true = quant.from_float(fake.numpy())
        self._values[node.name] = true
        if node.name in self._splits:
            self._values[self._splits[node.name].name] = self._outliers.pop(node.name)
        if not self._readers[node.name]:
            del self._values[node.name]

    def _decode(self, node: Node, output: Array) -> Real:
        """Return what a node's integers stand for."""
        quant = node.output.quant
        if node.op == "scale_predictor":
            factors: Real = np.ldexp(output[:, 0].astype(np.float64), output[:, 1] - _FACTOR_FRAC)
            return factors
        if isinstance(quant, Quantizer):
            quant = quant.corrected(self._corrections.get(quant.correction))
        dense = to_real(output, quant)
        split = self._splits.get(node.name)
        if split is None:
            return dense
        return dense + to_real(self._run(split), quant.side)


def _check_output(node: Node, output: Array) -> None:
    """Refuse integers that are not of the type, shape and range that the graph says."""
    tensor, quant = node.output, node.output.quant
    problem = ""
    if output.shape != tensor.shape or str(output.dtype) != tensor.dtype:
        problem = f"{tensor.dtype}{list(tensor.shape)}, not {output.dtype}{list(output.shape)}"
    elif isinstance(quant, FixedPoint) and output.size:
        lo, hi = int(output.min()), int(output.max())
        if lo < quant.min or hi > quant.max:
            problem = f"in {quant.min}..{quant.max}, not {lo}..{hi}"
    if problem:
        raise GraphError(f"{node.name} ({node.op}): its integers must be {problem}")
