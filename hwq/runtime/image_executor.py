"""Runs integer graphs one image at a time; what the fast and the reference executor share."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node
from hwq.graph.movement import MOVEMENT, move
from hwq.numerics.scale_predictor import scale_predictor_reference
from hwq.runtime.step import Array, IntegerFunction, NodeStep, Step


@dataclass(frozen=True, slots=True, eq=False)
class Execution:
    """Result for one image.

    Parameters
    ----------
    values : dict[str, ndarray]
        The tensors asked for.
    saturations : dict[str, int]
        Number of clamped elements of each node that can clamp.
    """

    values: dict[str, Array]
    saturations: dict[str, int]


class ImageExecutor:
    """Runs an integer graph image by image.

    Parameters
    ----------
    graph : Graph
        Integer graph.
    functions : Mapping
        What each operation does: (node, operands) -> (output, number of saturated elements).
    """

    def __init__(self, graph: Graph, functions: Mapping[str, IntegerFunction]) -> None:
        for node in graph.nodes:
            if node.op not in functions:
                raise GraphError(f"{node.name}: {type(self).__name__} cannot execute {node.op!r}")
        self.graph = graph
        self.functions = functions
        self.constants: dict[str, Any] = dict(graph.constants)
        self._plans: dict[frozenset[str], list[tuple[Step, list[str]]]] = {}

    def steps(self, keep: frozenset[str]) -> list[Step]:
        """Return what computes all tensors in `keep`: here, every node by itself."""
        del keep
        return [NodeStep(node, self.functions[node.op]) for node in self.graph.nodes]

    def run(self, image: NDArray[np.uint8], fetch: Sequence[str] = ()) -> Execution:
        """Execute on one image.

        Parameters
        ----------
        image : uint8[C, H, W]
            Pixels.
        fetch : sequence of str, optional
            Tensors to return; default: the graph's outputs.
        """
        names = tuple(fetch) or self.graph.outputs
        values: dict[str, Any] = {**self.constants, self.graph.inputs[0].name: image[None]}
        saturations: dict[str, int] = {}
        for step, unused in self._plan(frozenset(names)):
            values[step.output] = step.run(values, saturations)
            for name in unused:
                del values[name]
        return Execution({name: values[name] for name in names}, saturations)

    def _plan(self, keep: frozenset[str]) -> list[tuple[Step, list[str]]]:
        """Steps, each with the tensors that nothing reads after it; made once."""
        if keep not in self._plans:
            steps = self.steps(keep)
            last = {name: step.output for step in steps for name in (step.output, *step.inputs)}
            computed = {step.output for step in steps} - keep
            unused: dict[str, list[str]] = {}
            for name in computed:
                unused.setdefault(last[name], []).append(name)
            self._plans[keep] = [(step, unused.get(step.output, [])) for step in steps]
        return self._plans[keep]

    def run_batch(
        self, images: Sequence[NDArray[np.uint8]], fetch: Sequence[str] = ()
    ) -> list[Execution]:
        """Execute on several images, a thread per processor."""
        self._plan(frozenset(fetch or self.graph.outputs))  # before threads would make several
        with ThreadPoolExecutor(cpu_count()) as pool:
            return list(pool.map(lambda image: self.run(image, fetch), images))


def unit_ops(which: Literal["compute", "reference"]) -> Mapping[str, IntegerFunction]:
    """Everything but the matrix products, by the `which` method of each node's unit."""

    def whole(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        output, saturated = getattr(node.attrs["unit"], which)(*x)
        return output, saturated

    def exact_rows(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        output = getattr(node.attrs["unit"], which)(_rows(x[0]))
        # the unit gives nothing that the node's format does not hold
        return output.astype(node.output.dtype, copy=False).reshape(node.output.shape), 0

    def rows(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        output, saturated = getattr(node.attrs["unit"], which)(_rows(x[0]))
        # the unit saturated to the format that the node's type holds
        return output.astype(node.output.dtype).reshape(node.output.shape), saturated

    def mean(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        return rows(node, [np.moveaxis(x[0], node.attrs["axis"], -1)])

    def outlier_split(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        name = "outliers" if which == "compute" else "outliers_reference"
        return getattr(node.attrs["unit"], name)(x[0]), 0

    def outlier_join(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        return getattr(node.attrs["unit"], which)(*x), 0

    def range_extract(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        return getattr(node.attrs["unit"], which)(_rows(x[0])), 0

    def scale_predictor(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
        unit = node.attrs["unit"]
        if which == "compute":
            prediction = unit.predict(unit.project(x[0]))
        else:
            prediction = scale_predictor_reference(x[0], unit)
        # the factor and its reciprocal, each as mantissa and exponent
        return np.stack([part.astype(np.int64) for part in prediction[1:]], axis=1), 0

    return {
        **dict.fromkeys(MOVEMENT, _movement),
        "softmax": exact_rows,
        "activation": exact_rows,
        "layer_norm": rows,
        "mean": mean,
        "add": whole,
        "mul": whole,
        "requantize": whole,
        "encode": whole,
        "outlier_split": outlier_split,
        "outlier_join": outlier_join,
        "range_extract": range_extract,
        "scale_predictor": scale_predictor,
    }


def _rows(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _movement(node: Node, x: Sequence[Any]) -> tuple[Array, int]:
    return move(node, x), 0
