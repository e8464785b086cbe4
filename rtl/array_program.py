"""A program of the array: its registers, its folds, and what accompanies a word of results."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.numerics.array import ArraySpec


def program_layout(spec: ArraySpec) -> data.StructLayout:
    """Return the registers that describe one product, in the terms of the array's edges.

    rows, columns, stream: `spec.extents`; *_base, *_stride: `hwq.numerics.array.ArraySpec`;
    accumulate: add to the results that are there; complete: the sums leave as a stream as well.
    """
    left, top, result = address_bits(spec)
    return data.StructLayout(
        {
            "rows": spec.extent_bits,
            "columns": spec.extent_bits,
            "stream": spec.extent_bits,
            "left_base": left,
            "left_stride": left,
            "top_base": top,
            "top_stride": top,
            "result_base": result,
            "result_stride": result,
            "accumulate": 1,
            "complete": 1,
        }
    )


def tag_layout(spec: ArraySpec) -> data.StructLayout:
    """Return what accompanies a word of results through the array."""
    return data.StructLayout(
        {
            "valid": 1,
            "address": address_bits(spec)[2],
            "accumulate": 1,
            "complete": 1,
            "last": 1,
        }
    )


def address_bits(spec: ArraySpec) -> tuple[int, int, int]:
    """Return the widths of the addresses of left words, top words and results."""
    a, b, result = (ceil_log2(d) for d in (spec.a_depth, spec.b_depth, spec.result_depth))
    return (a, b, result) if spec.a_is_left else (b, a, result)


class FoldWalk(wiring.Component):
    """The folds of a program, one after another: row tiles within column tiles.

    Ports: `product`, the program; `start` takes the first fold, `advance` the next; of the fold:
    `rows`, `columns` what is left of the extents, `left`, `top`, `result` the first addresses of
    its tiles, `row` the rows before it, `last_row`, `last`.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        left, top, result = address_bits(spec)
        super().__init__(
            {
                "product": In(program_layout(spec)),
                "start": In(1),
                "advance": In(1),
                "rows": Out(spec.extent_bits),
                "columns": Out(spec.extent_bits),
                "row": Out(spec.extent_bits),
                "left": Out(left),
                "top": Out(top),
                "result": Out(result),
                "last_row": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the registers."""
        m = Module()
        spec, program = self.spec, self.product
        m.d.comb += [
            self.last_row.eq(self.rows <= spec.rows),
            self.last.eq(self.last_row & (self.columns <= spec.columns)),
        ]
        with m.If(self.start | (self.advance & self.last_row)):
            m.d.sync += [
                self.rows.eq(program.rows),
                self.row.eq(0),
                self.left.eq(program.left_base),
            ]
        with m.Elif(self.advance):
            m.d.sync += [
                self.rows.eq(self.rows - spec.rows),
                self.row.eq(self.row + spec.rows),
                self.left.eq(self.left + program.left_stride),
            ]
        with m.If(self.start):
            m.d.sync += [
                self.columns.eq(program.columns),
                self.top.eq(program.top_base),
                self.result.eq(program.result_base),
            ]
        with m.Elif(self.advance & self.last_row):
            m.d.sync += [
                self.columns.eq(self.columns - spec.columns),
                self.top.eq(self.top + program.top_stride),
                self.result.eq(self.result + program.result_stride),
            ]
        return m
