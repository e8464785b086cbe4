# amaranth: UnusedElaboratable=no
"""Matrix products whose operands lie packed in buffers, of any kind of codes and any widths."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.numerics.array import ArraySpec
from hwq.rtl.array import ArrayCore
from hwq.rtl.array_program import program_layout
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.code_decoder import DECODER_SETTINGS, CodeDecoder, any_element
from hwq.rtl.pipeline import delayed
from hwq.rtl.transposer import Transposer
from hwq.rtl.walker import follow

LEVELS = 5
"""Loops of an operand: rows; tiles of K and of N, whose address may have several strides."""


class ProductEngine(wiring.Component):
    """A weight-stationary array between two buffers.

    Operand a is read in words of as many elements as the array has rows, along K, one for each row
    of a, for all tiles of K within all tiles of N. Operand b is read in words along N: for the same
    tiles, from the last row of the tile to its first. Or, `transposed`, in words along K, one for
    each column of the tile from its first to its last. What lies beyond K or N is read, if only to
    be ignored: it must be within the buffer.

    Cycles of a product: those of `ArrayCore` with the buffers' READ_CYCLES, and as many more as
    the array has rows if b is transposed.

    Ports:

    * `command`: `program` (`program_layout`; the array's addresses of a and b are not used), and
      for either operand its addresses, `walk` (`loops_layout`), `bits` and `signed`; `computed`,
      whether b lies in the activation buffer, and `transposed`; `single`, whether codes have but
      one plane, and `joined`, whether what is written through `side` is the second; `ones`, whether
      the first row of the program is not read, but ones; `decoder`
      (`code_decoder.decoder_settings`). Taken with `start`, which may be high while `busy` is low;
    * `busy`, `cycles`, `read_address`, `read_data`, `side`, `o`: as the core's;
    * `a_read`, `computed_read`, `b_read`: read ports of the buffers, the last one of weights.

    Parameters
    ----------
    side : int
        Rows and columns of the array.
    activation, weight : Buffer
        Whose ports are connected; they have as many lanes.
    result_depth : int
        Words of sums of one plane.
    """

    def __init__(self, side: int, activation: Buffer, weight: Buffer, result_depth: int) -> None:
        for name, buffer in (("activation", activation), ("weight", weight)):
            require(buffer.lanes == side, f"lanes of {name} must be {side}, not {buffer.lanes}")
        element = any_element()
        spec = ArraySpec(side, side, "weight_stationary", element, 2, 2, result_depth)
        self.core = ArrayCore(spec, READ_CYCLES, modes=True)
        b = max((activation, weight), key=lambda buffer: buffer.address_bits)
        self.command_shape = data.StructLayout(
            {
                "program": program_layout(spec),
                "a": activation.operand_layout(LEVELS),
                "b": b.operand_layout(LEVELS),
                "computed": 1,
                "transposed": 1,
                "single": 1,
                "joined": 1,
                "ones": 1,
                "decoder": DECODER_SETTINGS,
            }
        )
        members = self.core.signature.members
        passed = ("start", "busy", "cycles", "read_address", "read_data", "side", "o")
        super().__init__(
            {
                "command": In(self.command_shape),
                "a_read": Out(activation.read_signature),
                "computed_read": Out(activation.read_signature),
                "b_read": Out(weight.read_signature),
                **{name: members[name] for name in passed},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the core, the walks over its operands, and a decoder per row."""
        m = Module()
        m.submodules.core = core = self.core
        kept = Signal(self.command_shape)
        begins = Signal()
        m.d.comb += begins.eq(self.start & ~self.busy)
        with m.If(begins):
            m.d.sync += kept.eq(self.command)
        m.d.comb += [
            Value.cast(core.product).eq(Value.cast(self.command.program)),
            core.late.eq(self.command.transposed),
            core.single.eq(self.command.single),
            core.joined.eq(self.command.joined),
            core.start.eq(self.start),
            core.read_address.eq(self.read_address),
            self.busy.eq(core.busy),
            self.cycles.eq(core.cycles),
            Value.cast(self.read_data).eq(Value.cast(core.read_data)),
        ]
        wiring.connect(m, core.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.side), core.side)
        is_one, reads_a = self._ones(m, kept), Signal()
        m.d.comb += reads_a.eq(core.left.next & ~is_one)
        follow(m, "a", self.command.a.walk, begins, reads_a, self.a_read.address)
        b_address = Signal(len(self.command.b.walk.base))
        follow(m, "b", self.command.b.walk, begins, core.top.next, b_address)
        m.d.comb += [
            self.computed_read.address.eq(b_address),
            self.b_read.address.eq(b_address),
            self.a_read.enable.eq(reads_a),
            self.computed_read.enable.eq(core.top.next & kept.computed),
            self.b_read.enable.eq(core.top.next & ~kept.computed),
        ]
        for read, operand in (
            (self.a_read, kept.a),
            (self.computed_read, kept.b),
            (self.b_read, kept.b),
        ):
            m.d.comb += [read.bits.eq(operand.bits), read.signed.eq(operand.signed)]
        self._top(m, kept)
        one = delayed(m, is_one, READ_CYCLES)
        for lane, word in enumerate(core.left.word):
            m.submodules[f"decoder_{lane}"] = decoder = CodeDecoder()
            m.d.comb += [
                decoder.code.eq(self.a_read.elements[lane]),
                Value.cast(decoder.settings).eq(Value.cast(kept.decoder)),
                word.significand.eq(Mux(one, 1, decoder.decoded.significand)),
                word.shift.eq(Mux(one, 0, decoder.decoded.shift)),
                word.plane.eq(Mux(one, 0, decoder.decoded.plane)),
            ]
        return m

    def _ones(self, m: Module, kept: data.View) -> Value:
        """Return whether the word that is asked for is a fold's row of ones."""
        asks, row = self.core.left.next, Signal(len(kept.program.stream))
        with m.If(~self.busy):
            m.d.sync += row.eq(0)
        with m.Elif(asks):
            m.d.sync += row.eq(Mux(row + 1 == kept.program.stream, 0, row + 1))
        return kept.ones & asks & (row == 0)

    def _top(self, m: Module, kept: data.View) -> None:
        """Give the core words of b, turned if they are to be."""
        top = self.core.top.word
        element = top.shape().elem_shape
        m.submodules.transposer = transposer = Transposer(len(top), element)
        valid = self.computed_read.valid | self.b_read.valid
        m.d.comb += transposer.valid.eq(valid & kept.transposed)
        for lane, word in enumerate(top):
            read = Mux(kept.computed, self.computed_read.elements[lane], self.b_read.elements[lane])
            m.d.comb += [
                transposer.word[lane].eq(read),
                word.eq(Mux(kept.transposed, transposer.turned[lane], transposer.word[lane])),
            ]
