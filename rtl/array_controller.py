"""What an array does in every cycle of a program: addresses, controls, and where results go.

Cycles of a program, from the one in which `start` is high to the one in which the last result is
written, both counted: (folds - 1) * max(stream, rows) + stream + 2 * rows + columns + 2, where a
word is there a cycle after it is asked for; else as many cycles more.
"""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.array import ArraySpec
from hwq.rtl.array_program import FoldWalk, address_bits, program_layout, tag_layout


class ArrayController(wiring.Component):
    """Runs one program: this class holds what both kinds of dataflow share.

    Ports: `product` is taken with `start`, which may be high when `busy` is low; `left`, `top`
    addresses of the words that are asked for in this cycle, while `left_next`, `top_next` are
    high, in the order of the program; `top_count` how many elements of the top
    word are to be kept; `begin`, and `load` or `take`: what the array gets with the words
    asked for in this cycle; `tag` the word of results that they end in; `busy` until
    `finished`, `cycles`.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec, controls: tuple[str, ...]) -> None:
        self.spec = spec
        left, top, _ = address_bits(spec)
        super().__init__(
            {
                "product": In(program_layout(spec)),
                "start": In(1),
                "finished": In(1),
                "left": Out(left),
                "top": Out(top),
                "left_next": Out(1),
                "top_next": Out(1),
                "top_count": Out(spec.extent_bits),
                "tag": Out(tag_layout(spec)),
                "busy": Out(1),
                "cycles": Out(32),
                **{name: Out(1) for name in controls},
            }
        )

    def program_registers(self, m: Module) -> tuple[FoldWalk, data.View]:
        """Keep the program, count its cycles, and return the walk over its folds."""
        m.submodules.walk = walk = FoldWalk(self.spec)
        program = Signal(program_layout(self.spec))
        with m.If(self.start):
            m.d.sync += [program.eq(self.product), self.busy.eq(1), self.cycles.eq(1)]
        with m.Elif(self.busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            with m.If(self.finished):
                m.d.sync += self.busy.eq(0)
        # the walk starts in the same cycle, before the registers hold the program
        m.d.comb += [
            Value.cast(walk.product).eq(Mux(self.start, self.product, program)),
            walk.start.eq(self.start),
        ]
        return walk, program


class StationaryController(ArrayController):
    """Loads the block of the next fold while the one before streams.

    Time is cut into slots: in slot j the block of fold j is loaded and fold j - 1 streams. A slot
    lasts as long as the longer of the two, the first one `rows` cycles.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__(spec, ("begin", "load", "load_begin"))

    def elaborate(self, platform: object) -> Module:
        """Return the loader and the streamer."""
        m = Module()
        spec = self.spec
        walk, program = self.program_registers(m)
        step = Signal(spec.extent_bits)
        loading, streaming = Signal(), Signal()
        left, result = Signal.like(walk.left), Signal.like(walk.result)
        first_row, last_row, last = Signal(), Signal(), Signal()

        end = Signal()
        load_ends, stream_ends = step + 1 >= spec.rows, step + 1 >= program.stream
        m.d.comb += end.eq((~loading | load_ends) & (~streaming | stream_ends))
        m.d.comb += walk.advance.eq(end & loading)
        m.d.sync += step.eq(step + 1)
        with m.If(self.start):
            m.d.sync += [loading.eq(1), streaming.eq(0), step.eq(0)]
        with m.Elif(end):
            m.d.sync += [
                loading.eq(loading & ~walk.last),
                streaming.eq(loading),
                step.eq(0),
                left.eq(walk.left),
                result.eq(walk.result),
                first_row.eq(walk.row == 0),
                last_row.eq(walk.last_row),
                last.eq(walk.last),
            ]

        # the loader: the last row's word first, since it goes down furthest
        ahead = Signal(signed(spec.extent_bits + 1))
        m.d.comb += [
            ahead.eq(spec.rows - 1 - step),
            self.load.eq(loading & (ahead >= 0)),
            self.load_begin.eq(loading & (step == 0)),
            self.top_next.eq(self.load),
            self.top.eq(walk.top + walk.row + ahead),
            # beyond K the block holds zeros, whatever streams past
            self.top_count.eq(Mux(ahead < walk.rows, walk.columns, 0)),
        ]
        # the streamer
        m.d.comb += [
            self.begin.eq(streaming & (step == 0)),
            self.left.eq(left + step),
            self.left_next.eq(streaming & (step < program.stream)),
            self.tag.valid.eq(self.left_next),
            self.tag.address.eq(result + step),
            self.tag.accumulate.eq(program.accumulate | ~first_row),
            self.tag.complete.eq(program.complete & last_row),
            self.tag.last.eq(last & stream_ends),
        ]
        return m


class OutputController(ArrayController):
    """Streams fold after fold, and drains the sums of each while the next one streams.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec) -> None:
        super().__init__(spec, ("begin", "take"))

    def elaborate(self, platform: object) -> Module:
        """Return the streamer and the drainer."""
        m = Module()
        spec = self.spec
        walk, program = self.program_registers(m)
        step = Signal(spec.extent_bits)
        streaming = Signal()

        stream_ends = step + 1 == program.stream
        slot_ends = (step + 1 >= program.stream) & (step + 1 >= spec.rows)
        m.d.comb += walk.advance.eq(slot_ends & streaming)
        m.d.sync += step.eq(step + 1)
        with m.If(self.start):
            m.d.sync += [streaming.eq(1), step.eq(0)]
        with m.Elif(slot_ends):
            m.d.sync += [streaming.eq(streaming & ~walk.last), step.eq(0)]
        valid = streaming & (step < program.stream)
        m.d.comb += [
            self.begin.eq(streaming & (step == 0)),
            self.left.eq(walk.left + step),
            self.top.eq(walk.top + step),
            self.left_next.eq(valid),
            self.top_next.eq(valid),
            self.top_count.eq(Mux(valid, walk.columns, 0)),
        ]

        # the drainer starts in the cycle after the last operands, with the last row; row 0 leaves
        # rows - 1 cycles later, before the next fold's last operands
        m.d.sync += self.take.eq(streaming & stream_ends)
        row = Signal(range(max(spec.rows, 2)))
        draining, last = Signal(), Signal()
        rows, result = Signal.like(walk.rows), Signal.like(walk.result)
        with m.If(streaming & stream_ends):
            m.d.sync += [
                draining.eq(1),
                row.eq(spec.rows - 1),
                rows.eq(walk.rows),
                result.eq(walk.result + walk.row),
                last.eq(walk.last),
            ]
        with m.Else():
            m.d.sync += row.eq(row - 1)
            with m.If(row == 0):
                m.d.sync += draining.eq(0)
        m.d.comb += [
            self.tag.valid.eq(draining & (row < rows)),
            self.tag.address.eq(result + row),
            self.tag.accumulate.eq(program.accumulate),
            self.tag.complete.eq(program.complete),
            self.tag.last.eq(last & (row == 0)),
        ]
        return m


def controller(spec: ArraySpec) -> ArrayController:
    """Return the controller of the spec's dataflow."""
    output_stationary = spec.dataflow == "output_stationary"
    return OutputController(spec) if output_stationary else StationaryController(spec)
