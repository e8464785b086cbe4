"""What a machine is made of, and the program that it runs: commands, and walks over memories."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.errors import require
from hwq.numerics.array import ArraySpec
from hwq.rtl.array_program import program_layout
from hwq.rtl.epilogue import SCALING
from hwq.rtl.payload import fields
from hwq.rtl.pipeline import StreamUnit

ELEMENT = signed(18)
"""A lane of a stored word: codes, 16-bit fixed point or probabilities."""


class Route(IntEnum):
    """Where a command's words come from, and what they go through."""

    REQUANTIZE = 0
    """Sums of the array; the epilogue."""
    ACTIVATION = 1
    """Sums of the array; the epilogue, the activation, the encoder."""
    ENCODE = 2
    """Words of the vector memory; the encoder."""
    ROWS = 3
    """Words of the vector memory; the unit of whole rows."""


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of.

    Parameters
    ----------
    array : ArraySpec
        Weight-stationary and square: a word of results is a word of the next operand a.
    epilogue, activation, encoder : callable
        Makers of one lane's unit; the epilogue takes sums, the encoder elements.
    rows : StreamUnit
        Works on rows, word by word: softmax.
    vector_depth, parameter_depth, program_depth : int in 2..2**20
        Words of the memories.
    """

    array: ArraySpec
    epilogue: Callable[[], StreamUnit]
    activation: Callable[[], StreamUnit]
    encoder: Callable[[], StreamUnit]
    rows: StreamUnit
    vector_depth: int = 4096
    parameter_depth: int = 64
    program_depth: int = 16

    def __post_init__(self) -> None:
        array = self.array
        require(
            array.dataflow == "weight_stationary" and array.rows == array.columns,
            f"array must be square and weight_stationary, not {array.rows}x{array.columns}, "
            f"{array.dataflow}",
        )
        for name in ("vector_depth", "parameter_depth", "program_depth"):
            depth = getattr(self, name)
            require(2 <= depth <= 1 << 20, f"{name} must be in 2..{1 << 20}, not {depth}")
        for side in (self.rows.i, self.rows.o):
            count = len(fields(side.payload.shape()))
            require(count == self.lanes, f"rows must have words of {self.lanes} lanes, not {count}")

    @property
    def lanes(self) -> int:
        """Elements of a word."""
        return self.array.columns


def walk_layout(bits: int) -> data.StructLayout:
    """Return `outer` times `inner` addresses of `bits` bits, the inner loop fastest."""
    return data.StructLayout(
        {"base": bits, "inner": 16, "outer": 16, "inner_stride": bits, "outer_stride": bits}
    )


def command_layout(spec: MachineSpec) -> data.StructLayout:
    """Return a command of the program.

    route; last of the program; program of the array; source: words of the vector memory, or, behind
    the array, of the parameters; to_operand: whether the target is operand a; target; lo, hi: range
    of the epilogue; encoder: its scaling and range.
    """
    source = max(ceil_log2(spec.vector_depth), ceil_log2(spec.parameter_depth))
    target = max(ceil_log2(spec.vector_depth), ceil_log2(spec.array.a_depth))
    span = {"lo": ELEMENT, "hi": ELEMENT}
    return data.StructLayout(
        {
            "route": 2,
            "last": 1,
            "program": program_layout(spec.array),
            "source": walk_layout(source),
            "to_operand": 1,
            "target": walk_layout(target),
            "epilogue": data.StructLayout(span),
            "encoder": data.StructLayout({"scaling": SCALING, **span}),
        }
    )


class Walk(wiring.Component):
    """Addresses of a walk: `load` takes `walk`, `advance` goes on; `last` is the last address."""

    def __init__(self, bits: int) -> None:
        layout = walk_layout(bits)
        super().__init__(
            {
                "walk": In(layout),
                "load": In(1),
                "advance": In(1),
                "address": Out(bits),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the registers of both loops."""
        m = Module()
        kept = Signal(self.walk.shape())
        inner, outer = Signal(16), Signal(16)
        row = Signal.like(self.address)
        ends = inner == kept.inner - 1
        m.d.comb += self.last.eq(ends & (outer == kept.outer - 1))
        with m.If(self.load):
            m.d.sync += [
                kept.eq(self.walk),
                self.address.eq(self.walk.base),
                row.eq(self.walk.base),
                inner.eq(0),
                outer.eq(0),
            ]
        with m.Elif(self.advance):
            m.d.sync += [self.address.eq(self.address + kept.inner_stride), inner.eq(inner + 1)]
            with m.If(ends):
                m.d.sync += [
                    row.eq(row + kept.outer_stride),
                    self.address.eq(row + kept.outer_stride),
                    inner.eq(0),
                    outer.eq(outer + 1),
                ]
        return m
