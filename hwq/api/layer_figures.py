"""What was measured of each layer, beside what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hwq.compiler.program import Program
from hwq.cost.result import LayerCost
from hwq.runtime.node_check import NodeCheck


def with_nodes(
    program: Program, rows: Sequence[LayerCost], nodes: NodeCheck
) -> tuple[LayerCost, ...]:
    """Add what every layer's integers are worth by themselves."""
    figures = (nodes.figures.get(layer.out.tensor) for layer in program.layers)
    return tuple(
        row
        if figure is None
        else replace(
            row,
            node_sqnr_db=figure.datapath_db,
            quantizer_sqnr_db=figure.quantizer_db,
            row_sum_min=figure.row_sum_min,
            row_sum_mean=figure.row_sum_mean,
        )
        for row, figure in zip(rows, figures, strict=True)
    )


def with_errors(
    program: Program,
    rows: Sequence[LayerCost],
    saturations: Mapping[str, int],
    sqnr: Mapping[str, float],
) -> tuple[LayerCost, ...]:
    """Add saturations and SQNR to the layers that computed each tensor."""
    return tuple(
        replace(
            row,
            saturations=saturations.get(layer.out.tensor) if layer.op != "matmul" else None,
            sqnr_db=sqnr.get(layer.out.tensor),
        )
        for layer, row in zip(program.layers, rows, strict=True)
    )
