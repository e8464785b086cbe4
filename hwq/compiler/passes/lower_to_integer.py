"""Quantised graph -> integer graph: every real becomes an integer with a known scale."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch

from hwq.compiler.accumulator import (
    NOTHING,
    Accumulator,
    accumulate,
    side_name,
    to_array,
    to_codes,
    to_fixed,
)
from hwq.compiler.lower_units import UNITS, lower_movement
from hwq.compiler.lowering import PIXELS, Lowering, fixed_form
from hwq.compiler.passes.base import Pass
from hwq.errors import GraphError, SpecError
from hwq.graph.ir import Constant, Graph, Node, Tensor, constant_like
from hwq.graph.ops import OPS
from hwq.numerics.accumulator import check_accumulator, check_constant_operand
from hwq.numerics.epilogue import Factor
from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer
from hwq.quantizers.mac_form import MacForm
from hwq.quantizers.uniform import Uniform


@dataclass(frozen=True)
class LowerToInteger(Pass):
    """Replaces every real tensor by integers.

    ::

        y = linear(quantize(x), quantize(w), b)
        -> y.acc = linear(codes of x, codes of w); y = requantize(y.acc) {bias, mult, shift, ...}

    Raises
    ------
    GraphError
        For an operation without an integer unit, or operands that the array cannot consume; the
        node is named. Also when an accumulator could leave 32 bits, or a unit its bounds.
    """

    name: ClassVar[str] = "lower_to_integer"

    def apply(self, graph: Graph) -> Graph:
        """Return the integer graph."""
        lowering = Lowering(graph)
        inputs = [Tensor(t.name, t.shape, "uint8", PIXELS) for t in graph.inputs]
        lowering.quants.update({tensor.name: PIXELS for tensor in inputs})
        for node in graph.nodes:
            handler = _HANDLERS.get(node.op, lower_movement if OPS[node.op].movement else None)
            if handler is None:
                raise GraphError(f"{node.name}: {node.op} has no integer unit")
            try:
                handler(lowering, node)
            except SpecError as error:
                # a unit knows its bounds, but not whose it is
                raise GraphError(f"{node.name} ({node.op}): {error}") from error
        return graph.rebuild(lowering.nodes, lowering.constants, inputs)


def _quantize(lowering: Lowering, node: Node) -> None:
    source, quantizer = node.inputs[0], node.quantizer
    if source in lowering.graph.constants:
        weight = torch.from_numpy(np.array(lowering.graph.constants[source]))
        codes = quantizer.encode(weight).numpy()
        lowering.constants[node.name] = constant_like(codes, _code_dtype(quantizer))
        lowering.quants[node.name] = quantizer
        return
    uniform, correction = quantizer.uniform, quantizer.correction
    scales = node.inputs[1:]
    factor = None if correction is None else Factor(correction, "reciprocal")
    if source in lowering.accumulators and uniform is not None:
        accumulator = lowering.accumulators[source]
        if factor is not None and accumulator.factor is not None:
            raise GraphError(f"{node.name}: both {source} and its codes have per-image scales")
        extra = factor or accumulator.factor
        unit = to_codes(accumulator, uniform, extra)
        scales = (scales or _scales_of(lowering, source)) if extra else ()
        _emit_as(lowering, node, "requantize", (f"{source}.acc", *scales), unit)
    elif _is_pixels(lowering, source, quantizer):
        lowering.alias[node.name] = lowering.operand(source)
        lowering.quants[node.name] = quantizer
    elif uniform is not None:
        lsb = np.asarray(2.0 ** -lowering.frac(source))
        plain = Accumulator(lsb, NOTHING, NOTHING, None)
        _emit_as(lowering, node, "encode", (source, *scales), to_codes(plain, uniform, factor))
    else:
        unit = quantizer.encoder(lowering.frac(source))
        _emit_as(lowering, node, "encode", (source,), unit)
        if quantizer.side is not None:
            side = _named(replace(node, op="outlier_split"), side_name(node.name))
            count = quantizer.expected_outliers(prod(node.output.shape))
            lowering.emit(side, (source,), None, np.dtype(np.int16), unit=unit, expected=count)


def _named(node: Node, name: str) -> Node:
    return replace(node, output=replace(node.output, name=name))


def _emit_as(lowering: Lowering, node: Node, op: str, inputs: tuple[str, ...], unit: Any) -> None:
    quantizer = node.quantizer
    dtype = np.dtype(_code_dtype(quantizer))
    lowering.emit(replace(node, op=op), inputs, quantizer, dtype, unit=unit)


def _is_pixels(lowering: Lowering, source: str, quantizer: Quantizer) -> bool:
    """Whether the codes are the image's own bytes."""
    uniform = quantizer.uniform
    return (
        lowering.quants[source] == PIXELS
        and uniform is not None
        and uniform is quantizer
        and (uniform.bits, uniform.signed) == (8, False)
        and bool((to_array(uniform.scale) == 1.0).all())
        and not to_array(uniform.zero_point).any()
    )


def _code_dtype(quantizer: Quantizer) -> str:
    return "int8" if quantizer.uniform is not None and quantizer.uniform.signed else "uint8"


def _product(lowering: Lowering, node: Node) -> None:
    a, b = (lowering.quants[name] for name in node.inputs[:2])
    form = a.mac_form()
    right = b.uniform if isinstance(b, Quantizer) else None
    if right is None or b is not right or to_array(right.zero_point).any():
        raise GraphError(f"{node.name}: operand b must be static, symmetric and uniform")
    names = tuple(lowering.operand(name) for name in node.inputs[:2])
    weight = lowering.constants.get(node.inputs[1]) if node.op == "linear" else None
    _check_accumulators(form, right, weight, lowering.graph.shape(node.inputs[0])[-1])
    dtype = np.dtype(np.int32 if len(form.plane_weights) == 1 else np.int64)
    acc = _named(node, f"{node.name}.acc")
    extra: dict[str, Any] = {"source": node.name}
    if node.op == "linear":
        extra["weight_bits"] = right.bits
    bias = lowering.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
    if a.side is not None:
        join_unit = None if weight is None else a.outlier_join(weight)
        if join_unit is None:
            raise GraphError(f"{node.name}: outliers need a constant operand b")
        dense = _named(node, f"{node.name}.dense")
        lowering.emit(dense, names, None, dtype, form=form, **extra)
        joined = (dense.name, side_name(names[0]), names[1])
        join = replace(acc, op="outlier_join")
        lowering.emit(join, joined, None, np.dtype(np.int64), unit=join_unit, source=node.name)
    else:
        lowering.emit(acc, names, None, dtype, form=form, **extra)
    lowering.accumulators[node.name] = accumulate(node, a, right, weight, bias)
    if _needs_fixed(lowering.graph, node):
        unit = to_fixed(lowering.accumulators[node.name], fixed_form(node))
        scales = _scales_of(lowering, node.name) if unit.factor else ()
        epilogue = replace(node, op="requantize")
        inputs = (acc.name, *scales)
        lowering.emit(epilogue, inputs, fixed_form(node), fixed_form(node).dtype, unit=unit)


def _check_accumulators(form: MacForm, right: Uniform, weight: Constant | None, depth: int) -> None:
    for table in form.plane_tables():
        if weight is not None:
            # the offset is corrected in the epilogue, beyond 32 bits
            check_constant_operand(weight.T, int(np.abs(table).max()))
        else:
            largest = max(abs(FixedPoint(right.bits, 0, right.signed).min), 1)
            code = int(np.abs(table - form.offset).max())
            check_accumulator(depth, code, largest)


def _needs_fixed(graph: Graph, node: Node) -> bool:
    def straight(reader: Node) -> bool:
        return reader.op == "quantize" and reader.quantizer.uniform is not None

    readers = graph.consumers(node.name)
    return node.name in graph.outputs or not all(straight(reader) for reader in readers)


def _scales_of(lowering: Lowering, product: str) -> tuple[str, ...]:
    """The scale predictor that the left operand of `product` reads, looking through movement."""
    left = lowering.graph.by_name[lowering.graph.by_name[product].inputs[0]]
    while OPS[left.op].movement:
        left = lowering.graph.by_name[left.inputs[0]]
    return left.inputs[1:]


_HANDLERS: Mapping[str, Callable[[Lowering, Node], None]] = {
    "quantize": _quantize,
    "linear": _product,
    "matmul": _product,
    **UNITS,
}
