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

_TOGETHER = 8  # images that go through a step one after the other


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
        return self._run_together([image], tuple(fetch) or self.graph.outputs)[0]

    def run_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        fetch: Sequence[str] = (),
        threads: int | None = None,
    ) -> list[Execution]:
        """Execute on several images.

        Parameters
        ----------
        images, fetch
            See `run`.
        threads : int, optional
            Over which images are spread; by default one for every processor.
        """
        names = tuple(fetch) or self.graph.outputs
        self._plan(frozenset(names))  # before threads would make several
        workers = min(threads or cpu_count() or 1, max(len(images), 1))
        size = min(-(-len(images) // workers), _TOGETHER)
        groups = [images[first : first + size] for first in range(0, len(images), size or 1)]
        if workers == 1:
            parts = [self._run_together(group, names) for group in groups]
        else:
            with ThreadPoolExecutor(workers) as pool:
                parts = list(pool.map(lambda group: self._run_together(group, names), groups))
        return [execution for part in parts for execution in part]

    def _run_together(
        self, images: Sequence[NDArray[np.uint8]], names: tuple[str, ...]
    ) -> list[Execution]:
        """Execute step by step, each for all images, so that its weights stay in the cache."""
        source = self.graph.inputs[0].name
        values: list[dict[str, Any]] = [{**self.constants, source: image[None]} for image in images]
        nothing = dict.fromkeys(self.graph.by_name, 0)
        saturations = [dict(nothing) for _ in images]
        for step, unused in self._plan(frozenset(names)):
            for known, counts in zip(values, saturations, strict=True):
                known[step.output] = step.run(known, counts)
                for name in unused:
                    del known[name]
        return [
            Execution({name: known[name] for name in names}, counts)
            for known, counts in zip(values, saturations, strict=True)
        ]

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
