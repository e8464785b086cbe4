"""The integer network of a calibrated file: it runs without torch once it was lowered."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwq.api.kept_graphs import graph_key, keep_graph, read_graph
from hwq.errors import DataError, require
from hwq.files import sha256
from hwq.graph.ir import Graph, Node
from hwq.methods.origin import Origin
from hwq.numerics.fixed_point import FixedPoint
from hwq.runtime.integer_executor import IntegerExecutor
from hwq.runtime.logits import to_logits


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A network that reads 8-bit pixels and computes in integers.

    Parameters
    ----------
    graph : Graph
        Integer graph, whose codes are plain integers.
    origin : Origin
        From what it was made.
    sha256 : str
        SHA-256 of the calibrated file.
    """

    graph: Graph
    origin: Origin
    sha256: str

    def logits(self, images: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.float64]:
        """uint8[B, C, H, W] -> float64[B, classes]: what the integers of the output stand for.

        Parameters
        ----------
        images : uint8[B, C, H, W]
            Pixels, resized and cropped.
        threads : int, optional
            How many run side by side; as many as there are processors by default.

        Raises
        ------
        SpecError
            For pixels of another type or shape.
        """
        wanted = self.graph.inputs[0].shape[1:]
        require(
            images.dtype == np.uint8 and images.shape[1:] == wanted and len(images) > 0,
            f"images must be uint8[B, {', '.join(map(str, wanted))}], "
            f"not {images.dtype}{list(images.shape)}",
        )
        return to_logits(self.graph, self._executor.run_batch(list(images), threads=threads))

    @property
    def network_id(self) -> tuple[str, str]:
        """Name and weights of the float network, which files of one network share."""
        return self.origin.model, self.origin.weights_sha256

    @cached_property
    def _executor(self) -> IntegerExecutor:
        return IntegerExecutor(self.graph)


def open_integers(path: Path) -> IntegerNetwork:
    """Read the integer network of a calibrated file.

    It is lowered once, which takes torch, and kept in the user's cache under the file's content.

    Raises
    ------
    DataError
        See `hwq.methods.checkpoint_reader.load_calibrated`; also for a network that the integer
        units cannot express.
    """
    if not path.is_file():
        raise DataError(f"calibrated file {path}: no such file")
    digest = sha256(path)
    key = graph_key({"calibrated": digest})
    known = read_graph(key)
    if known is not None:
        graph, facts = known
        return IntegerNetwork(graph, Origin(**facts), digest)
    # not at the top: what is kept needs no torch
    from hwq.api.network import open_calibrated
    from hwq.api.simulation import lower, naming

    calibrated = open_calibrated(path)
    with naming(path):
        graph = _plain(lower(calibrated.quantized))
    keep_graph(key, graph, calibrated.origin.to_dict())
    return IntegerNetwork(graph, calibrated.origin, digest)


def _plain(graph: Graph) -> Graph:
    """Return a graph whose codes are integers without a quantizer, which holds torch tensors.

    Results are no codes: what they stand for is needed.
    """
    for name in graph.outputs:
        form = graph.tensors[name].quant
        require(isinstance(form, FixedPoint), f"{name}: a result must be fixed point, not {form}")
    return replace(graph, nodes=tuple(map(_plain_node, graph.nodes)))


def _plain_node(node: Node) -> Node:
    output = node.output
    if output.quant is None or isinstance(output.quant, FixedPoint):
        return node
    form = FixedPoint(output.quant.bits, 0, signed=not output.dtype.startswith("u"))
    return replace(node, output=replace(output, quant=form))
