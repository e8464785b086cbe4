"""What integers stand for on the way down: accumulators, and the epilogues that end them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwq.errors import GraphError
from hwq.graph.ir import Constant, Node
from hwq.graph.movement import compress, move
from hwq.numerics.epilogue import GUARD_BITS, Epilogue, Factor
from hwq.numerics.fixed_point import FixedPoint, dyadic_array
from hwq.quantizers.base import Quantizer
from hwq.quantizers.uniform import Uniform

NOTHING = np.zeros((), np.int64)
MAX_BIAS = 1 << 45
"""With a joined accumulator, below 2**45 too, a bias fits the 46 bits of `requantize`."""


@dataclass(frozen=True, slots=True, eq=False)
class Accumulator:
    """What one unit of a matrix product's accumulators stands for, once the epilogue shifted them.

    lsb : float64 array that broadcasts against the accumulators
    bias, correction : int64 arrays in units of that lsb
    factor : the left operand's per-image factor
    guard : bits that the epilogue shifts the accumulators left
    """

    lsb: NDArray[np.float64]
    bias: NDArray[np.int64]
    correction: NDArray[np.int64]
    factor: Factor | None
    guard: int = 0


def accumulate(
    node: Node,
    a: Quantizer,
    right: Uniform,
    weight: Constant | None,
    bias: Constant | None,
) -> Accumulator:
    """Return what the accumulators of a `linear` or `matmul` stand for.

    Parameters
    ----------
    node : Node
        The product, in the quantised graph.
    a, right : Quantizer
        Quantizers of its operands.
    weight : int8[N, K], optional
        Codes of operand b where it is a constant.
    bias : float[N], optional
        Real bias.

    Notes
    -----
    The offset of operand a is a correction per column where operand b is a constant; otherwise
    the product itself subtracts offset times the column sums of b.
    """
    form = a.mac_form()
    scale = to_array(right.scale)
    if node.op == "linear":
        scale = scale.reshape(-1) if scale.size > 1 else scale.reshape(())
    # what is joined behind the array has no offset left
    joined = a.side is not None
    # several planes weigh 2**7 and more, which guards as well
    guard = 0 if joined or len(form.plane_weights) > 1 else GUARD_BITS
    lsb = np.asarray(a.acc_lsb * scale * node.attrs.get("alpha", 1.0) * 2.0**-guard)
    if weight is not None:
        lsb = _finer_where_empty(lsb, weight, bias)
    correction, integers = NOTHING, NOTHING
    if form.offset != 0 and weight is not None and not joined:
        correction = -form.offset * weight.astype(np.int64).sum(1) * 2**guard
    if bias is not None:
        wide = np.floor(bias.astype(np.float64) / lsb + 0.5)
        largest = float(np.abs(wide).max())
        if not largest < MAX_BIAS:
            raise GraphError(
                f"{node.name}: bias must stay below 2**45 in units of the accumulator, "
                f"not reach {largest:.4g}"
            )
        integers = wide.astype(np.int64)
    factor = None if a.correction is None else Factor(a.correction, "scale")
    return Accumulator(lsb, integers, correction, factor, guard)


def _finer_where_empty(
    lsb: NDArray[np.float64], weight: Constant, bias: Constant | None
) -> NDArray[np.float64]:
    """Return units in which the bias of an output without any weight is exact enough.

    Nothing but the bias is in such an accumulator, so that its unit is free. That of its weights'
    scale, which is 1 for lack of a better, could swallow the bias.
    """
    empty = ~weight.any(1)
    if not empty.any():
        return lsb
    size = np.zeros(len(weight)) if bias is None else np.abs(bias.astype(np.float64))
    return np.where(empty, np.where(size > 0, np.ldexp(size, -20), 2.0**-40), lsb)


def side_name(codes: str) -> str:
    """Name of the outliers that belong to the codes of that name."""
    return f"{codes}.outliers"


def to_codes(accumulator: Accumulator, uniform: Uniform, factor: Factor | None) -> Epilogue:
    """The epilogue that turns accumulators into codes of a uniform quantizer."""
    mult, shift = dyadic_array(np.asarray(accumulator.lsb / to_array(uniform.scale)))
    span = FixedPoint(uniform.bits, 0, uniform.signed)
    zero_point = to_array(uniform.zero_point).astype(np.int64)
    return _epilogue(accumulator, mult, shift, zero_point, span, factor)


def to_fixed(accumulator: Accumulator, form: FixedPoint) -> Epilogue:
    """The epilogue that turns accumulators into fixed point."""
    mult, shift = dyadic_array(accumulator.lsb * 2.0**form.frac)
    return _epilogue(accumulator, mult, shift, NOTHING, form, accumulator.factor)


def _epilogue(
    accumulator: Accumulator,
    mult: NDArray[np.int64],
    shift: NDArray[np.int64],
    zero_point: NDArray[np.int64],
    span: FixedPoint,
    factor: Factor | None,
) -> Epilogue:
    return Epilogue(
        bias=accumulator.bias,
        correction=accumulator.correction,
        mult=mult,
        shift=shift,
        zero_point=zero_point,
        lo=span.min,
        hi=span.max,
        factor=factor,
        guard=accumulator.guard,
    )


def moved(quant: Any, node: Node, shape: tuple[int, ...]) -> Any:
    """What integers mean after data movement: a scale per channel moves with its channels."""
    uniform = quant.uniform if isinstance(quant, Quantizer) else None
    if uniform is None or uniform.scale.numel() == 1:
        return quant
    scale, zero_point = (
        torch.from_numpy(compress(move(node, [np.broadcast_to(values.numpy(), shape)])))
        for values in (uniform.scale, uniform.zero_point)
    )
    return quant.with_parameters(scale, zero_point)


def to_array(values: Any) -> NDArray[np.float64]:
    """Return a tensor, an array or a number as float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, np.float64)
