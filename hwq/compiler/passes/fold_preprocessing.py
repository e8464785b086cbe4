"""Folds the image normalisation into the patch embedding: the network then reads pixels."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hwq.compiler.passes.base import Pass
from hwq.errors import GraphError
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like
from hwq.graph.movement import Array, move
from hwq.graph.ops import OPS


@dataclass(frozen=True)
class FoldPreprocessing(Pass):
    """Makes the input 8-bit pixels: (p/255 - mean) / std becomes part of the first weights.

    ::

        patches of (p/255 - mean)/std; y = linear(patches, w, b)
        -> patches of p;               y = linear(patches, w/(255 std), b - sum(w mean/std))

    Exact in real arithmetic: the patches are moved elements of the image, and each column of
    theirs is of one channel. Where the image goes elsewhere first, the normalisation is written
    out, as a multiplication and an addition.

    Parameters
    ----------
    mean, std : tuple of float
        Per channel, as the network was trained.
    """

    name: ClassVar[str] = "fold_preprocessing"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def apply(self, graph: Graph) -> Graph:
        """Return the graph whose input is `image` in pixels 0..255.

        Raises
        ------
        GraphError
            When the image has another number of channels than mean and std.
        """
        image = graph.inputs[0]
        if not len(self.mean) == len(self.std) == image.shape[1]:
            raise GraphError(
                f"{image.name} has {image.shape[1]} channels, but mean and std are of "
                f"{len(self.mean)} and {len(self.std)}"
            )
        channels = np.arange(image.shape[1]).reshape(self._along_channels(image))
        reached = _first_linear(graph, np.broadcast_to(channels, image.shape))
        if reached is None:
            return self._written_out(graph, image)
        node, column_channels = reached
        return self._folded(graph, node, column_channels)

    def _folded(self, graph: Graph, node: Node, channels: Array) -> Graph:
        mean, std = (np.asarray(values)[channels] for values in (self.mean, self.std))
        weight = graph.constants[node.inputs[1]].astype(np.float64)
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(len(weight))
        names = [graph.free_name(f"{node.name}.{end}") for end in ("pixel_weight", "pixel_bias")]
        values = (weight / (255.0 * std), bias - weight @ (mean / std))
        constants = dict(zip(names, map(constant_like, values), strict=True))
        changed = replace(node, inputs=(node.inputs[0], *names))
        nodes = [changed if n is node else n for n in graph.nodes]
        return graph.rebuild(nodes, {**graph.constants, **constants})

    def _written_out(self, graph: Graph, image: Tensor) -> Graph:
        shape = self._along_channels(image)
        mean, std = (np.reshape(values, shape) for values in (self.mean, self.std))
        factor, offset, scaled, normalised = (
            graph.free_name(f"{image.name}.{end}")
            for end in ("factor", "offset", "scaled", "normalised")
        )
        constants: dict[str, Constant] = {
            factor: constant_like(1.0 / (255.0 * std)),
            offset: constant_like(-mean / std),
        }
        work = [
            Node("mul", (image.name, factor), Tensor(scaled, image.shape)),
            Node("add", (scaled, offset), Tensor(normalised, image.shape)),
        ]
        readers = [
            replace(
                node,
                inputs=tuple(normalised if name == image.name else name for name in node.inputs),
            )
            for node in graph.nodes
        ]
        outputs = [normalised if name == image.name else name for name in graph.outputs]
        return graph.rebuild([*work, *readers], {**graph.constants, **constants}, outputs=outputs)

    @staticmethod
    def _along_channels(image: Tensor) -> tuple[int, ...]:
        """Shape of one number per channel, which broadcasts against the image."""
        return (1, -1, *(1 for _ in image.shape[2:]))


def _first_linear(graph: Graph, channels: Array) -> tuple[Node, Array] | None:
    """The one linear layer that reads the image, and the channel of each of its columns.

    None where the image reaches something else, or a column has elements of several channels.
    """
    name = graph.inputs[0].name
    while graph.uses(name) == 1 and graph.consumers(name):
        (node,) = graph.consumers(name)
        if node.op == "linear":
            rows = channels.reshape(-1, channels.shape[-1])
            return (node, rows[0]) if (rows == rows[0]).all() else None
        if not OPS[node.op].movement:
            return None
        channels, name = move(node, [channels]), node.name
    return None
