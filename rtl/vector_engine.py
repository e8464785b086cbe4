# amaranth: UnusedElaboratable=no
"""Layers of the vector unit between two places of a buffer: rows in, rows out, a word a cycle."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.rtl.affine import PARAMETERS
from hwq.rtl.buffer import READ_CYCLES, WRITE_CYCLES, Buffer
from hwq.rtl.encoder import Encoder, tabled
from hwq.rtl.layer_norm import LayerNormCore
from hwq.rtl.parameter_memory import ParameterMemory
from hwq.rtl.pipeline import delayed, within
from hwq.rtl.predictor_core import PredictorCore
from hwq.rtl.range_core import RangeCore
from hwq.rtl.rescale_lanes import RescaleLanes
from hwq.rtl.shared import share
from hwq.rtl.softmax import SoftmaxCore
from hwq.rtl.token_split import TokenSplit
from hwq.rtl.vector_command import Route, vector_layout
from hwq.rtl.walker import follow


class VectorEngine(wiring.Component):
    """Runs one layer of the vector unit at a time, on any number of rows of any length.

    Cycles of a layer, from `start` to where the next one may start: words of all rows, the latency
    of what they go through, READ_CYCLES, and 2. No unit makes the words wait: they flow. But a
    list of outliers takes as many cycles as its command says: words wait for those before them.

    Ports:

    * `command`, taken with `start`, which may be high while `busy` is low: `words` of a row of
      results; `keep`, which elements of a row's last word count; where operands and results are, in
      walks of as many words. Scores, and what is normalised, have a sign;
    * `busy`, `cycles` unsigned(32);
    * `x_read`, `y_read`, `write`: ports of the buffer; `tables`, `store`: those of the parameter
      memory. From `first_parameter` on are gamma and beta, what is rescaled, or, with `is_tabled`,
      the parameters of the encoder; from `second_parameter` on corrections of what is rescaled.
      Multipliers of tokens are tables, too (`token_split.TokenSplit`).

    Parameters
    ----------
    buffer : Buffer
        Whose ports are connected; as many lanes has the engine.
    max_length : int
        Elements of the longest row.
    memory : ParameterMemory
        Whose ports are connected; it has as many lanes.
    """

    def __init__(self, buffer: Buffer, max_length: int, memory: ParameterMemory) -> None:
        require(buffer.max_bits == 16, f"max_bits of buffer must be 16, not {buffer.max_bits}")
        self.lanes, self.element = buffer.lanes, signed(buffer.max_bits + 1)
        self.softmax = SoftmaxCore(max_length, self.lanes)
        self.norm = LayerNormCore(max_length, self.lanes, self.element)
        self.split = TokenSplit(self.lanes, self.element, memory)
        self.ranges, self.predictor = RangeCore(self.lanes), PredictorCore(self.lanes)
        self.rescale = RescaleLanes(self.lanes, memory.words.elem_shape)
        units = {"softmax": self.softmax.settings.shape(), "layer_norm": self.norm.settings.shape()}
        self.command_shape = vector_layout(buffer, memory.depth, units)
        super().__init__(
            {
                "command": In(self.command_shape),
                "start": In(1),
                "busy": Out(1),
                "cycles": Out(32),
                "x_read": Out(buffer.read_signature),
                "y_read": Out(buffer.read_signature),
                "write": Out(buffer.write_signature),
                "tables": Out(memory.read_signature).array(2),
                "store": Out(memory.store_signature),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the walks, the units, and the choice among them."""
        m = Module()
        kept = Signal(self.command_shape)
        begins, ends = Signal(), Signal()
        m.d.comb += begins.eq(self.start & ~self.busy)
        with m.If(begins):
            m.d.sync += [kept.eq(self.command), self.busy.eq(1), self.cycles.eq(1)]
        with m.Elif(self.busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            with m.If(ends):
                m.d.sync += self.busy.eq(0)
        last_word = self._feed(m, begins, kept)
        valid, elements = self._units(m, platform, begins, kept, last_word)
        written_last = self._store(m, begins, kept, valid, elements)
        # the next layer reads a cycle after it starts
        flowed = delayed(m, written_last, WRITE_CYCLES - 2)
        times_out = self.cycles == kept.settings.list.last_cycle
        m.d.comb += ends.eq(Mux(kept.route == Route.LIST, times_out, flowed))
        return m

    def _feed(self, m: Module, begins: Value, kept: data.View) -> Value:
        """Read all words; return whether the one that is there is a row's last."""
        reading, word, asks = Signal(), Signal(16), Signal()
        ends_row = word + 1 == kept.words
        lasts = []
        predicts = kept.route == Route.PREDICT
        for name, read, asked, needed in (
            ("x", self.x_read, self.predictor.ranges, 1),
            ("y", self.y_read, self.predictor.parameters, kept.route == Route.ADD),
        ):
            walk, reads = self.command[name].walk, Signal(name=f"reads_{name}")
            m.d.comb += reads.eq(Mux(predicts, asked.ask, asks & needed))
            lasts.append(follow(m, name, walk, begins, reads, read.address))
            m.d.comb += [
                read.bits.eq(kept[name].bits),
                read.signed.eq(kept[name].signed),
                read.enable.eq(reads),
                asked.valid.eq(read.valid & predicts),
                Value.cast(asked.elements).eq(Value.cast(read.elements)),
            ]
        with m.If(begins):
            m.d.sync += [reading.eq(1), word.eq(0)]
        with m.Elif(asks):
            m.d.sync += word.eq(Mux(ends_row, 0, word + 1))
            with m.If(lasts[0]):
                m.d.sync += reading.eq(0)
        m.d.comb += [
            asks.eq(reading & ~self.split.full),
            self.split.asks.eq(asks),
            self.split.ends.eq(ends_row),
            self.split.all.eq(delayed(m, lasts[0], READ_CYCLES)),
        ]
        return delayed(m, ends_row, READ_CYCLES)

    def _units(
        self, m: Module, platform: object, begins: Value, kept: data.View, last: Value
    ) -> tuple[Value, list[Value]]:
        """Return when a word of results is there, and its elements."""
        m.submodules.softmax, m.submodules.norm = softmax, norm = self.softmax, self.norm
        x, valid = self.x_read.elements, self.x_read.valid
        outputs = {Route.MOVE: (valid, [x[lane] for lane in range(self.lanes)])}
        for route, unit in ((Route.SOFTMAX, softmax), (Route.LAYER_NORM, norm)):
            m.d.comb += [
                unit.i.valid.eq(valid & (kept.route == route)),
                unit.i.p.last.eq(last),
                unit.i.p.keep.eq(Mux(last, kept.keep, -1)),
                *(unit.i.p.elements[lane].eq(x[lane]) for lane in range(self.lanes)),
                unit.o.ready.eq(1),
            ]
            outputs[route] = unit.o.valid, [unit.o.payload[lane] for lane in range(self.lanes)]
        m.d.comb += [
            softmax.settings.eq(kept.settings.softmax),
            norm.settings.eq(kept.settings.layer_norm),
        ]
        outputs[Route.LIST] = self._list(m, begins, kept, last)
        outputs |= self._elementwise(m, platform, kept)
        outputs |= self._of_the_image(m, begins, kept)
        self._tables(m, begins, kept)
        there = Signal()
        elements = [Signal(self.element, name=f"out_{k}") for k in range(self.lanes)]
        with m.Switch(kept.route):
            for route, (is_there, lanes) in outputs.items():
                with m.Case(route):
                    m.d.comb += there.eq(is_there)
                    m.d.comb += [out.eq(lane) for out, lane in zip(elements, lanes, strict=True)]
        return there, elements

    def _list(
        self, m: Module, begins: Value, kept: data.View, last: Value
    ) -> tuple[Value, list[Value]]:
        """Take outliers out; return when an entry of their list is there, for any place of it."""
        m.submodules.split = split = self.split
        m.d.comb += [
            split.settings.eq(kept.split),
            split.settings_of_list.eq(kept.settings.list),
            split.start.eq(begins),
            split.first.eq(self.command.first_parameter),
            split.room.eq(self.command.settings.list.room),
            split.data.eq(self.tables[0].data),
            split.lists.eq(kept.route == Route.LIST),
            Value.cast(split.x).eq(Value.cast(self.x_read.elements)),
            split.valid.eq(self.x_read.valid),
            split.keep.eq(Mux(last, kept.keep, -1)),
            split.last.eq(last),
        ]
        return split.o.valid, [split.o.elements[lane] for lane in range(self.lanes)]

    def _elementwise(
        self, m: Module, platform: object, kept: data.View
    ) -> dict[Route, tuple[Value, list[Value]]]:
        """Add, and encode."""
        x, valid = self.x_read.elements, self.x_read.valid
        settings = tabled(
            m, kept.settings.encoder, kept.is_tabled, Value.cast(self.tables[0].data[0])
        )
        with m.If(kept.split.tokens):
            m.d.comb += [settings.mult.eq(self.split.mult), settings.shift.eq(self.split.shift)]
        sums, codes, encoded = [], [], Signal(self.lanes)
        for lane in range(self.lanes):
            total = Signal(signed(self.element.width + 1), name=f"total_{lane}")
            held = Signal(self.element, name=f"sum_{lane}")
            limits = kept.settings.limits
            m.d.comb += total.eq(x[lane] + self.y_read.elements[lane])
            m.d.sync += held.eq(within(total, limits.lo, limits.hi))
            sums.append(held)
            encoder = Encoder()
            m.submodules[f"encoder_{lane}"] = share(platform, encoder)
            m.d.comb += [
                encoder.i.payload.eq(self.split.inliers[lane]),
                encoder.i.valid.eq(valid & (kept.route == Route.ENCODE)),
                encoder.o.ready.eq(1),
                encoder.settings.eq(settings),
                encoded[lane].eq(encoder.o.valid),
            ]
            codes.append(encoder.o.payload)
        added = delayed(m, valid & (kept.route == Route.ADD), 1)
        return {Route.ADD: (added, sums), Route.ENCODE: (encoded[0], codes)}

    def _of_the_image(
        self, m: Module, begins: Value, kept: data.View
    ) -> dict[Route, tuple[Value, list[Value]]]:
        """Ranges, scales, and tables that are rescaled by them."""
        ranges, predictor, rescale = self.ranges, self.predictor, self.rescale
        m.submodules.ranges, m.submodules.predictor = ranges, predictor
        m.submodules.rescale = rescale
        x, valid = self.x_read.elements, self.x_read.valid
        m.d.comb += [
            ranges.settings.eq(kept.settings.ranges),
            ranges.i.valid.eq(valid & (kept.route == Route.RANGES)),
            Value.cast(ranges.i.elements).eq(Value.cast(x)),
            predictor.settings.eq(kept.settings.predictor),
            predictor.start.eq(begins & (self.command.route == Route.PREDICT)),
            rescale.settings.eq(kept.settings.rescale),
            rescale.i.valid.eq(valid & (kept.route == Route.RESCALE)),
            Value.cast(rescale.i.pieces).eq(Value.cast(x)),
            rescale.i.words.eq(self.tables[0].data),
            rescale.i.corrections.eq(self.tables[1].data),
            self.store.data.eq(rescale.o.words),
        ]
        pieces = {
            Route.RANGES: (ranges.o.valid, ranges.o.pieces),
            Route.PREDICT: (predictor.o.valid, predictor.o.pieces),
        }
        nothing = [Value.cast(0)] * self.lanes
        return {
            **{r: (there, [p[k] for k in range(self.lanes)]) for r, (there, p) in pieces.items()},
            Route.RESCALE: (rescale.o.valid, nothing),
        }

    def _tables(self, m: Module, begins: Value, kept: data.View) -> None:
        """Read words of a table beside words of x, gamma and beta, or an encoder's parameters."""
        norm, index = self.norm, Signal.like(kept.first_parameter)
        # a word of a table is there in the next cycle
        beside = delayed(m, self.x_read.enable & (kept.route == Route.RESCALE), READ_CYCLES - 1)
        with m.If(begins):
            m.d.sync += index.eq(0)
        with m.Elif(beside):
            m.d.sync += index.eq(index + 1)
        normalises = kept.route == Route.LAYER_NORM
        first, second = self.tables
        m.d.comb += [
            first.address.eq(
                kept.first_parameter + Mux(normalises, norm.parameters.address, index)
            ),
            first.enable.eq(Mux(normalises, norm.parameters.enable, 1)),
            second.address.eq(kept.second_parameter + index),
            second.enable.eq(1),
        ]
        with m.If(kept.split.tokens):
            m.d.comb += first.address.eq(self.split.address)
        for lane in range(self.lanes):
            bits = Value.cast(first.data[lane])[: PARAMETERS.size]
            m.d.comb += Value.cast(norm.parameters.data[lane]).eq(bits)

    def _store(
        self, m: Module, begins: Value, kept: data.View, valid: Value, elements: list[Value]
    ) -> Value:
        """Write words where they go; return whether this is the last one."""
        word = Signal(16)
        ends_row = word + 1 == kept.words
        with m.If(begins):
            m.d.sync += word.eq(0)
        with m.Elif(valid):
            m.d.sync += word.eq(Mux(ends_row, 0, word + 1))
        predicts, rescales = kept.route == Route.PREDICT, kept.route == Route.RESCALE
        keep = Mux(predicts, self.predictor.o.keep, Mux(ends_row, kept.keep, -1))
        keep = Mux(kept.route == Route.LIST, self.split.o.keep, keep)
        address = Signal.like(self.write.address)
        last = follow(m, "out", self.command.out.walk, begins, valid, address)
        m.d.comb += [
            self.write.address.eq(address),
            self.write.bits.eq(kept.out.bits),
            self.write.keep.eq(keep),
            self.write.enable.eq(valid & ~rescales),
            *(self.write.elements[k].eq(element) for k, element in enumerate(elements)),
            self.store.address.eq(address),
            self.store.keep.eq(keep),
            self.store.enable.eq(valid & rescales),
        ]
        return valid & Mux(predicts, self.predictor.o.last, last)
