"""Both operands of a matrix product as fused kernels take them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwq.graph.ir import Graph
from hwq.numerics._product import BLOCK
from hwq.numerics._rung import GROUP, RUNGS, Rung
from hwq.numerics.accumulator import accumulator_bound
from hwq.numerics.gemm import PackedOperand, best_rung, byte_run
from hwq.numerics.unit import ceil_div
from hwq.quantizers.mac_form import MacForm
from hwq.runtime.fused.kernels import Left, Product

CODE_BITS = 8
"""Widest codes that are fused."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOperand:
    """What multiplies: codes, or what each plane makes of them.

    Parameters
    ----------
    low, high : int
        Least and most of what is multiplied.
    tables : int64[P, 256]
        What a plane multiplies for every code; [0, 256] where that is the code itself.
    weights : int64[P]
        Of every plane.
    """

    low: int
    high: int
    tables: NDArray[np.int64]
    weights: NDArray[np.int64]

    @classmethod
    def of(cls, form: MacForm, signed: bool, depth: int, b_bits: int) -> Self:
        """Return the operand for codes of a form, as int8 or as uint8.

        Parameters
        ----------
        form : MacForm
        signed : bool
        depth, b_bits : int
            Number of products in a sum, and width of what they multiply.
        """
        if form.pe.multiplies and form.pe.shifts == 1:
            low, top = (-(1 << form.bits - 1) if signed else 0), (1 << form.bits) - 1
            none = np.zeros((0, 256), np.int64)
            return cls(low, low + top, none, np.ones(1, np.int64))
        entries, weights = np.stack(form.plane_tables()), np.array(form.plane_weights, np.int64)
        # all planes in one, weighed, where words and accumulators hold that
        values = form.value_table()[np.newaxis]
        largest = int(np.abs(values).max())
        if largest < 1 << 15 and accumulator_bound(depth, largest, 1 << b_bits - 1) < 1 << 31:
            entries, weights = values, np.ones(1, np.int64)
        codes = np.arange(256) & ((1 << form.bits) - 1)
        return cls(int(entries.min()), int(entries.max()), entries[:, codes], weights)

    def prepare(self, run: int) -> Left:
        """Return what kernels take, for runs of bytes or, where `run` is 0, for words."""
        if self.tables.shape[0] == 0:
            return self.low, self.tables.astype(np.int16), self.weights
        if run:
            return self.low, (self.tables - self.low).astype(np.int16), self.weights
        if self.high < 1 << 15:
            return self.low, self.tables.astype(np.int16), self.weights
        # minus what is multiplied: -2**15 fits 16 bits, 2**15 does not
        return self.low, (-self.tables).astype(np.int16), -self.weights


def prepare_constant(left: LeftOperand, packed: PackedOperand) -> tuple[Left, Product]:
    """Return both operands, the right one being a constant."""
    low, high = left.low, left.high
    right = packed.right(low, high)
    return left.prepare(right[2]), (packed.rung.tag, packed.block(low, high), right)


def prepare_computed(
    left: LeftOperand, shape: tuple[int, int], bits: int, offset: int
) -> tuple[Left, Product, int]:
    """Return both operands, and the factor on column sums that sums start from.

    Parameters
    ----------
    left : LeftOperand
    shape : tuple of int
        K and N of the right operand, which kernels pack.
    bits : int
        Width of its codes.
    offset : int
        What counts as zero in the left operand.
    """
    rung: Rung = next(rung for rung in RUNGS if rung.name == best_rung())
    steps, panels = ceil_div(shape[0], GROUP), ceil_div(shape[1], rung.columns)
    run = byte_run(rung, left.high - left.low, 1 << bits, steps)
    prepared = left.prepare(run)
    kind = np.uint8 if run else np.int16
    block = np.empty((BLOCK, GROUP * steps), kind)
    room = np.empty((panels, steps, rung.columns, GROUP), np.int8)
    start = np.zeros(panels * rung.columns, np.int32)
    factor = (left.low if run else 0) - offset * int(prepared[2][0])
    return prepared, (rung.tag, block, (room, start, run)), factor


def is_signed(graph: Graph, name: str) -> bool | None:
    """Whether the codes of a tensor are int8; None where they have another type than 8 bits."""
    return {"int8": True, "uint8": False}.get(graph.tensors[name].dtype)
