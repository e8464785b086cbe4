"""What a quantized network is worth on images: nodes by themselves, layers, accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwq.accuracy import Accuracy
from hwq.api.accuracy import Trial, guess_picture
from hwq.compiler.passes.base import run_passes
from hwq.compiler.pipelines import HOIST, LOWER
from hwq.compiler.program import Program
from hwq.cost.result import LayerCost, Picture
from hwq.graph.ir import Graph
from hwq.methods.evaluate import evaluate, layer_sqnr_db
from hwq.methods.workspace import Track, no_track
from hwq.runtime.node_check import NodeCheck, check_nodes

_SQNR_IMAGES = 4


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured.

    Parameters
    ----------
    integer : Graph
        The network in integers.
    nodes : NodeCheck
        What every node's integers are worth by themselves.
    fidelity : Accuracy or None
        None without test images.
    picture : Picture or None
        Where one was asked for.
    saturations, sqnr : mapping
        By tensor, on the test images.
    """

    integer: Graph
    nodes: NodeCheck
    fidelity: Accuracy | None = None
    picture: Picture | None = None
    saturations: Mapping[str, int] | None = None
    sqnr: Mapping[str, float] = field(default_factory=dict)

    def beside(self, program: Program, rows: Sequence[LayerCost]) -> tuple[LayerCost, ...]:
        """Add what was measured of each layer to what it costs."""
        # a plan may have put layers in another order
        tensors = {layer.name: layer.out.tensor for layer in program.layers}
        return tuple(self._row(row, tensors[row.name]) for row in rows)

    def _row(self, row: LayerCost, tensor: str) -> LayerCost:
        if (figure := self.nodes.figures.get(tensor)) is not None:
            row = replace(
                row,
                node_sqnr_db=figure.datapath_db,
                quantizer_sqnr_db=figure.quantizer_db,
                row_sum_min=figure.row_sum_min,
                row_sum_mean=figure.row_sum_mean,
            )
        if self.saturations is None:
            return row
        saturated = None if row.op == "matmul" else self.saturations.get(tensor)
        return replace(row, saturations=saturated, sqnr_db=self.sqnr.get(tensor))


def measure(
    graph: Graph,
    pixels: NDArray[np.uint8],
    trial: Trial,
    reference: Graph | None = None,
    layers: bool = True,
    track: Track = no_track,
    device: str = "cpu",
) -> Measured:
    """Lower a fake-quant network to integers and try both.

    Parameters
    ----------
    graph : Graph
        Fake-quant.
    pixels : uint8[C, H, W]
        Image for checking every node by itself.
    trial : Trial
        Test images, and a picture, if any.
    reference : Graph, optional
        The float network.
    layers : bool
        Whether layers are compared with the float weights that `graph` still has.
    track : callable, optional
        Shows progress.
    device : str
        Where the fake-quant network runs.

    Raises
    ------
    GraphError, SpecError
        If integers cannot express the network.
    """
    hoisted = run_passes(graph, HOIST)
    integer = run_passes(hoisted, LOWER)
    nodes = check_nodes(hoisted, integer, [pixels])
    nodes.refuse()
    picture = None
    if trial.picture is not None:
        picture = guess_picture(*trial.picture, reference, graph, integer)
    if trial.test is None:
        return Measured(integer, nodes, picture=picture)
    test = trial.test
    evaluation = evaluate(reference, graph, integer, test.pixels(), test.labels, track, device)
    few = list(test.head(_SQNR_IMAGES).pixels()) if layers else []
    sqnr = layer_sqnr_db(hoisted, integer, few)
    return Measured(integer, nodes, evaluation.accuracy, picture, evaluation.saturations, sqnr)
