"""How everything but quantization and matrix products becomes integers: one function per unit.

A unit says in which formats it takes its input and gives its output. Where a tensor has another
format, it is converted in a step of its own, so that no unit's integers are read as what they
are not.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from hwq.compiler.accumulator import moved, to_array
from hwq.compiler.lowering import Lowering, fixed_form
from hwq.errors import GraphError
from hwq.graph.ir import Node
from hwq.numerics.activation import MAX_IN_BITS, MIN_IN_FRAC, OUT_FRAC, ActivationSpec
from hwq.numerics.add import AddSpec
from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.layer_norm import LayerNormSpec
from hwq.numerics.mean import MeanSpec
from hwq.numerics.mul import OPERAND_BITS, MulSpec
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.softmax import MAX_FRAC, SoftmaxSpec

PROBABILITY = FixedPoint(16, 16, signed=False)
"""What the softmax unit gives."""

_LAYERNORM_BITS = 16


def _softmax(lowering: Lowering, node: Node) -> None:
    if node.attrs["base"] != 2:
        raise GraphError(f"{node.name}: the softmax unit works in base 2, not {node.attrs['base']}")
    source = lowering.converted(node.inputs[0], lambda form: _with_frac(form, 1, MAX_FRAC, 32))
    unit = SoftmaxSpec(frac=lowering.frac(source))
    lowering.emit_unit(node, (source,), PROBABILITY, unit=unit)


def _activation(lowering: Lowering, node: Node) -> None:
    source = lowering.converted(
        node.inputs[0], lambda form: _with_frac(form, MIN_IN_FRAC, OUT_FRAC, MAX_IN_BITS)
    )
    form = lowering.quants[source]
    unit = ActivationSpec(node.attrs["function"], in_frac=form.frac, in_bits=form.bits)
    lowering.emit_unit(node, (source,), unit.out, unit=unit)


def _with_frac(form: FixedPoint, least: int, most: int, max_bits: int) -> FixedPoint:
    """Return a signed format of the same range with `least` to `most` fraction bits."""
    frac = min(max(form.frac, least), most)
    bits = form.bits + (not form.signed) + max(frac - form.frac, 0)
    return FixedPoint(min(bits, max_bits), frac)


def _layer_norm(lowering: Lowering, node: Node) -> None:
    source = lowering.converted(node.inputs[0], lambda form: _narrow(form, _LAYERNORM_BITS))
    width, form = node.output.shape[-1], fixed_form(node)
    gamma, beta = (np.ones(width), np.zeros(width))
    if len(node.inputs) > 1:
        gamma = to_array(lowering.graph.constants[node.inputs[1]])
    if len(node.inputs) > 2:
        beta = to_array(lowering.graph.constants[node.inputs[2]])
    eps, centered = node.attrs["eps"], node.attrs["centered"]
    unit = LayerNormSpec.from_float(gamma, beta, eps, lowering.frac(source), form, centered)
    lowering.emit(node, (source,), form, form.dtype, unit=unit)


def _narrow(form: FixedPoint, bits: int) -> FixedPoint:
    """Return the signed format of the same range with at most `bits` bits."""
    wide = form.bits + (not form.signed)
    return FixedPoint(min(wide, bits), form.frac - max(wide - bits, 0))


def _add(lowering: Lowering, node: Node) -> None:
    form = fixed_form(node)
    names = tuple(lowering.fixed(name, form) for name in node.inputs)
    lowering.emit(node, names, form, form.dtype, unit=AddSpec(form))


def _mul(lowering: Lowering, node: Node) -> None:
    form = fixed_form(node)
    operands = [_factor(lowering, name) for name in node.inputs]
    a, b = (form for _, form in operands)
    unit = MulSpec.between(a, b, form)
    lowering.emit_unit(node, tuple(name for name, _ in operands), unit.out, unit=unit)


def _factor(lowering: Lowering, name: str) -> tuple[str, FixedPoint]:
    """Name and format of an operand within 16 bits; a constant has as many fraction bits as fit."""
    constant = lowering.graph.constants.get(name)
    if constant is not None:
        form = FixedPoint.covering(float(np.abs(constant).max()), OPERAND_BITS)
        return lowering.fixed(name, form), form
    source = lowering.converted(name, _within_operand)
    form = lowering.quants[source]
    return source, form


def _within_operand(form: FixedPoint) -> FixedPoint:
    fits = form.bits + (not form.signed) <= OPERAND_BITS
    return form if fits else _narrow(form, OPERAND_BITS)


def _mean(lowering: Lowering, node: Node) -> None:
    source, form = node.inputs[0], fixed_form(node)
    count = lowering.graph.shape(source)[node.attrs["axis"]]
    factor = 2.0 ** (form.frac - lowering.frac(source)) / count
    unit = MeanSpec.from_float(factor, count, form)
    lowering.emit(node, (source,), form, form.dtype, **node.attrs, unit=unit)


def _concat(lowering: Lowering, node: Node) -> None:
    # the ranges of a scale predictor have the format that they were made in
    form = node.output.quant or lowering.quants[node.inputs[0]]
    names = tuple(lowering.fixed(name, form) for name in node.inputs)
    lowering.emit(node, names, form, form.dtype, **node.attrs)


def lower_movement(lowering: Lowering, node: Node) -> None:
    """Move the integers as the reals are moved, with the scales that belong to them."""
    source = lowering.operand(node.inputs[0])
    quant = moved(lowering.quants[node.inputs[0]], node, lowering.graph.shape(node.inputs[0]))
    lowering.emit(node, (source,), quant, lowering.dtypes[source], **node.attrs)


def _range_extract(lowering: Lowering, node: Node) -> None:
    source, chunk = node.inputs[0], node.attrs["chunk_tokens"]
    _, tokens, channels = lowering.graph.shape(source)
    unit = RangeExtractSpec(channels, chunk, tokens // chunk)
    # sums of differences have the scale of what they summarise
    form = FixedPoint(32, lowering.frac(source))
    lowering.emit(node, (source,), form, form.dtype, **node.attrs, unit=unit)


def _scale_predictor(lowering: Lowering, node: Node) -> None:
    unit = node.attrs["predictor"].to_spec(lowering.frac(node.inputs[0]))
    shape = (unit.scales, 4)
    output = replace(node.output, shape=shape, dtype="int64", quant=None)
    attrs = {"shape": shape, "unit": unit}
    lowering.nodes.append(Node(node.op, node.inputs, output, attrs))


UNITS: Mapping[str, Callable[[Lowering, Node], None]] = {
    "softmax": _softmax,
    "activation": _activation,
    "layer_norm": _layer_norm,
    "add": _add,
    "mul": _mul,
    "mean": _mean,
    "concat": _concat,
    "range_extract": _range_extract,
    "scale_predictor": _scale_predictor,
}
