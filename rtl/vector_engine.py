# amaranth: UnusedElaboratable=no
"""Layers of the vector unit between two places of a buffer: rows in, rows out, a word a cycle."""

from enum import IntEnum

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.rtl.affine import parameter_port
from hwq.rtl.buffer import READ_CYCLES, WRITE_CYCLES, Buffer
from hwq.rtl.encoder import ENCODER_SETTINGS, Encoder
from hwq.rtl.layer_norm import LayerNormCore
from hwq.rtl.pipeline import delayed, within
from hwq.rtl.shared import share
from hwq.rtl.softmax import SoftmaxCore
from hwq.rtl.walker import follow

LEVELS = 3
"""Loops of an operand: words of a row, rows, heads."""


class Route(IntEnum):
    """What becomes of the elements."""

    MOVE = 0
    """x."""
    ADD = 1
    """x + y, held in lo..hi."""
    ENCODE = 2
    """The code of x."""
    SOFTMAX = 3
    """Probabilities of a row."""
    LAYER_NORM = 4
    """A row, normalised."""


class VectorEngine(wiring.Component):
    """Runs one layer of the vector unit at a time, on any number of rows of any length.

    Cycles of a layer, from `start` to where the next one may start: words of all rows, the latency
    of what they go through, READ_CYCLES, and 2. No unit makes the words wait: they flow.

    Ports:

    * `command`, taken with `start`, which may be high while `busy` is low: `words` of a row;
      `keep`, which elements of a row's last word count; where operands and results are, in walks
      of as many words. Scores, and what is normalised, have a sign;
    * `busy`, `cycles` unsigned(32);
    * `x_read`, `y_read`, `write`: ports of the buffer; `parameters`: a read port of the memory of
      gamma and beta (`affine.parameter_port`), those of a layer from `first_parameter` on.

    Parameters
    ----------
    buffer : Buffer
        Whose ports are connected; as many lanes has the engine.
    max_length : int
        Elements of the longest row.
    parameters : int
        Words of the memory of gamma and beta.
    """

    def __init__(self, buffer: Buffer, max_length: int, parameters: int) -> None:
        require(buffer.max_bits == 16, f"max_bits of buffer must be 16, not {buffer.max_bits}")
        self.lanes, self.element = buffer.lanes, signed(buffer.max_bits + 1)
        self.softmax = SoftmaxCore(max_length, self.lanes)
        self.norm = LayerNormCore(max_length, self.lanes, self.element)
        self.command_shape = self._command_layout(buffer, parameters)
        super().__init__(
            {
                "command": In(self.command_shape),
                "start": In(1),
                "busy": Out(1),
                "cycles": Out(32),
                "x_read": Out(buffer.read_signature),
                "y_read": Out(buffer.read_signature),
                "write": Out(buffer.write_signature),
                "parameters": Out(parameter_port(self.lanes, parameters)),
            }
        )

    def _command_layout(self, buffer: Buffer, parameters: int) -> data.StructLayout:
        """Return what says all of a layer."""
        return data.StructLayout(
            {
                "route": Route,
                "words": 16,
                "keep": self.lanes,
                "first_parameter": range(parameters),
                **{name: buffer.operand_layout(LEVELS) for name in ("x", "y", "out")},
                "limits": data.StructLayout({"lo": self.element, "hi": self.element}),
                "encoder": ENCODER_SETTINGS,
                "softmax": self.softmax.settings.shape(),
                "layer_norm": self.norm.settings.shape(),
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
        valid, elements = self._units(m, platform, kept, last_word)
        written_last = self._store(m, begins, kept, valid, elements)
        # the next layer reads a cycle after it starts
        m.d.comb += ends.eq(delayed(m, written_last, WRITE_CYCLES - 2))
        return m

    def _feed(self, m: Module, begins: Value, kept: data.View) -> Value:
        """Read all words; return whether the one that is there is a row's last."""
        reading, word = Signal(), Signal(16)
        ends_row = word + 1 == kept.words
        lasts = []
        for name, read in (("x", self.x_read), ("y", self.y_read)):
            walk = self.command[name].walk
            lasts.append(follow(m, name, walk, begins, reading, read.address))
            m.d.comb += [
                read.bits.eq(kept[name].bits),
                read.signed.eq(kept[name].signed),
                read.enable.eq(reading & ((name == "x") | (kept.route == Route.ADD))),
            ]
        with m.If(begins):
            m.d.sync += [reading.eq(1), word.eq(0)]
        with m.Elif(reading):
            m.d.sync += word.eq(Mux(ends_row, 0, word + 1))
            with m.If(lasts[0]):
                m.d.sync += reading.eq(0)
        return delayed(m, ends_row, READ_CYCLES)

    def _units(
        self, m: Module, platform: object, kept: data.View, last: Value
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
        m.d.comb += [softmax.settings.eq(kept.softmax), norm.settings.eq(kept.layer_norm)]
        m.d.comb += [
            self.parameters.address.eq(kept.first_parameter + norm.parameters.address),
            self.parameters.enable.eq(norm.parameters.enable),
            norm.parameters.data.eq(self.parameters.data),
        ]

        sums, codes, encoded = [], [], Signal(self.lanes)
        for lane in range(self.lanes):
            total = Signal(signed(self.element.width + 1), name=f"total_{lane}")
            held = Signal(self.element, name=f"sum_{lane}")
            limits = kept.limits
            m.d.comb += total.eq(x[lane] + self.y_read.elements[lane])
            m.d.sync += held.eq(within(total, limits.lo, limits.hi))
            sums.append(held)
            encoder = Encoder()
            m.submodules[f"encoder_{lane}"] = share(platform, encoder)
            m.d.comb += [
                encoder.i.payload.eq(x[lane]),
                encoder.i.valid.eq(valid & (kept.route == Route.ENCODE)),
                encoder.o.ready.eq(1),
                encoder.settings.eq(kept.encoder),
                encoded[lane].eq(encoder.o.valid),
            ]
            codes.append(encoder.o.payload)
        outputs[Route.ADD] = delayed(m, valid & (kept.route == Route.ADD), 1), sums
        outputs[Route.ENCODE] = encoded[0], codes
        there, elements = (
            Signal(),
            [Signal(self.element, name=f"out_{k}") for k in range(self.lanes)],
        )
        with m.Switch(kept.route):
            for route, (is_there, lanes) in outputs.items():
                with m.Case(route):
                    m.d.comb += there.eq(is_there)
                    m.d.comb += [out.eq(lane) for out, lane in zip(elements, lanes, strict=True)]
        return there, elements

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
        m.d.comb += [
            self.write.bits.eq(kept.out.bits),
            self.write.keep.eq(Mux(ends_row, kept.keep, -1)),
            self.write.enable.eq(valid),
            *(self.write.elements[k].eq(element) for k, element in enumerate(elements)),
        ]
        walk = self.command.out.walk
        return valid & follow(m, "out", walk, begins, valid, self.write.address)
