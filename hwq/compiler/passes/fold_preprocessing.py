"""Folds the image normalisation into the patch embedding: the network then reads pixels."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hwq.compiler.passes.base import Pass
from hwq.errors import GraphError
from hwq.graph.ir import Graph, Node, constant_like


@dataclass(frozen=True)
class FoldPreprocessing(Pass):
    """Makes the input 8-bit pixels: (p/255 - mean) / std becomes part of the first weights.

    ::

        patches of (p/255 - mean)/std; y = linear(patches, w, b)
        -> patches of p;               y = linear(patches, w/(255 std), b - sum(w mean/std))

    Exact in real arithmetic, because the patches tile the image without padding.

    Parameters
    ----------
    mean, std : tuple of float
        Per channel, as the network was trained.
    """

    name: ClassVar[str] = "fold_preprocessing"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def apply(self, graph: Graph) -> Graph:
        """Return the graph whose input is `image` in pixels 0..255."""
        image = graph.inputs[0]
        node = _first_linear(graph, image.name)
        weight = graph.constants[node.inputs[1]].astype(np.float64)
        area = weight.shape[1] // len(self.mean)
        mean = np.repeat(np.asarray(self.mean), area)
        std = np.repeat(np.asarray(self.std), area)
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(len(weight))
        names = (f"{node.name}.pixel_weight", f"{node.name}.pixel_bias")
        constants = dict(graph.constants)
        constants[names[0]] = constant_like(weight / (255.0 * std))
        constants[names[1]] = constant_like(bias - weight @ (mean / std))
        changed = replace(node, inputs=(node.inputs[0], *names))
        nodes = [changed if n is node else n for n in graph.nodes]
        return graph.rebuild(nodes, constants=constants)


def _first_linear(graph: Graph, name: str) -> Node:
    while True:
        consumers = graph.consumers(name)
        if len(consumers) != 1:
            raise GraphError(f"{name} feeds {len(consumers)} nodes; the patch embedding alone may")
        if consumers[0].op == "linear":
            return consumers[0]
        if consumers[0].op not in ("reshape", "permute"):
            raise GraphError(f"{consumers[0].name}: {consumers[0].op} before the patch embedding")
        name = consumers[0].name
