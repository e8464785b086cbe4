"""The steps of a plan before anything of them is cut or placed."""

from collections.abc import Mapping, Sequence
from math import lcm
from typing import Final

from hwq.arch.accelerator import Array
from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, VectorLayer
from hwq.compiler.view import View, extent
from hwq.numerics.array import Dataflow
from hwq.numerics.units import UNITS
from hwq.plan.memory import MemoryName, Stage
from hwq.plan.plan import Loop, Pass, Port, Product, Step
from hwq.plan.residency import Residency
from hwq.plan.runs import Members
from hwq.plan.tiling import Grain, array_grain

_LOOPS: Final[Mapping[str, Loop]] = {
    "count": "c", "m": "m", "n": "n", "k": "k", "length": "n", "all": "all",
}  # fmt: skip


def draft_step(
    members: Members,
    times: int,
    flow: Dataflow | None,
    array: Array,
    residency: Residency,
) -> tuple[Step, Grain]:
    """Return a step that is not cut yet, and how it may be."""
    first = members[0]
    product, inputs, passes = None, [], []
    if isinstance(first, MatmulLayer):
        assert flow is not None
        size = first.m, first.n, first.k
        grain = array_grain(array, flow)
        product = Product(
            first.name,
            first.pe,
            flow,
            first.column_sums,
            first.offset,
            first.plane_weights,
            first.out.tensor,
            0,
            any(layer.op == "outlier_join" for layer in members),
        )
        if product.joined:  # with the last columns of b come those of all outliers
            grain = grain._replace(k=first.k)
        inputs += [_port(residency, "a", first.a, times), _port(residency, "b", first.b, times)]
    else:
        rows = first.rows // times
        size, grain = _row_size(first, rows, residency.grid.lanes)
    streamed = {layer.out.tensor for layer in members}
    for number, layer in enumerate(members):
        if not isinstance(layer, VectorLayer):
            continue
        reads = []
        for index, operand in enumerate(layer.inputs):
            if operand.tensor in streamed:
                reads.append(operand.tensor)
                continue
            if product is not None and operand == first.inputs[1]:
                reads.append("b")
                continue
            port = _port(residency, f"{number}.{index}", operand, times)
            inputs.append(port)
            reads.append(port.name)
        passes.append(_pass(layer, reads))
    outputs = [
        _port(residency, layer.out.tensor, layer.out, times)
        for layer in members
        if layer.out.tensor not in residency.streamed
    ]
    step = Step(*size, *size, True, product, tuple(passes), tuple(inputs), tuple(outputs))
    return step, _whole_runs(step, grain)


def _whole_runs(step: Step, grain: Grain) -> Grain:
    """Let the rows of blocks be cut where beats begin."""
    cuts = grain._asdict()
    for port in step.ports:
        loop = port.along[port.row]
        if port.stage is not None and loop in cuts:
            cuts[loop] = lcm(cuts[loop], port.stage.quantum)
    return Grain(**cuts)


def _pass(layer: VectorLayer, reads: Sequence[str]) -> Pass:
    return Pass(
        layer.name,
        layer.op,
        layer.unit,
        layer.rows,
        layer.length,
        layer.inputs[0].bits,
        tuple(reads),
        layer.out.tensor,
        layer.out.elements,
        layer.out.bits,
    )


def _port(residency: Residency, name: str, operand: Operand, times: int) -> Port:
    """Return an operand with its axes along the loops of a step; blocks are not placed yet."""
    place = residency.places[operand.tensor]
    view, width = (
        residency.layouts[operand.tensor].view(operand.view),
        residency.grid.width(operand),
    )
    along: list[Loop] = []
    axes = []
    for axis, levels in zip(operand.along, view.axes, strict=True):
        if axis == "rows":
            outer, inner = View(0, (levels,)).reshape((times, extent(levels) // times)).axes
            axes += [outer, inner]
            along += ["c", "m"]
        else:
            axes.append(levels)
            along.append(_LOOPS[axis])
    if place.scratch:  # one instance is there at a time
        axes[0] = ((times, 0),)
    stage = None
    if place.memory == "dram":
        stage = Stage(_stage_memory(name, operand), residency.grid.quantum(width))
    return Port(
        name,
        operand.tensor,
        width,
        operand.signed,
        View(view.offset, tuple(axes)),
        tuple(along),
        place.memory,
        place.base,
        stage,
    )


def _stage_memory(name: str, operand: Operand) -> MemoryName:
    """Blocks of operand b and parameters have buffers of their own."""
    if name == "b":
        return "weight"
    return "parameter" if operand.is_table else "activation"


def _row_size(layer: VectorLayer, rows: int, lanes: int) -> tuple[tuple[int, int, int], Grain]:
    """Rows and columns of a pass that follows no product, and how they may be cut."""
    cut = UNITS[layer.unit].cut
    if cut == "never":
        return (1, 1, 1), Grain(1, 1, 1)
    if cut == "whole":
        return (rows, layer.length, 1), Grain(rows, layer.length, 1)
    if cut == "columns":
        return (rows, layer.length, 1), Grain(rows, lanes, 1)
    return (rows, layer.length, 1), Grain(1, layer.length, 1)
