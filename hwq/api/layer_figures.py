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
    tensors = _tensors(program)
    figures = (nodes.figures.get(tensors[row.name]) for row in rows)
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
    tensors = _tensors(program)
    return tuple(
        replace(
            row,
            saturations=saturations.get(tensors[row.name]) if row.op != "matmul" else None,
            sqnr_db=sqnr.get(tensors[row.name]),
        )
        for row in rows
    )


def _tensors(program: Program) -> dict[str, str]:
    """Layer -> what it writes; a plan may have put layers in another order."""
    return {layer.name: layer.out.tensor for layer in program.layers}
