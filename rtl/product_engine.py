# amaranth: UnusedElaboratable=no
"""Matrix products whose operands lie packed in buffers, of any kind of codes and any widths."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.numerics.array import ArraySpec
from hwq.rtl.array import ArrayCore
from hwq.rtl.array_program import program_layout
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.code_decoder import DECODER_SETTINGS, CodeDecoder, any_element
from hwq.rtl.walker import follow

LEVELS = 5
"""Loops of an operand: rows; tiles of K and of N, whose address may have several strides."""


class ProductEngine(wiring.Component):
    """A weight-stationary array between two buffers.

    Operand a is read in words of `rows` elements along K, one for each row of a, for all tiles of
    K within all tiles of N. Operand b is read in words of `columns` elements along N: for the same
    tiles, `rows` words from the last row of the tile to its first. What lies beyond K or N is
    read, if only to be ignored: it must be within the buffer.

    Cycles of a product: those of `ArrayCore` with the buffers' READ_CYCLES.

    Ports:

    * `command`: `program` (`program_layout`; the array's addresses of a and b are not used),
      and for either operand its addresses, `walk` (`loops_layout`), `bits` and `signed`; `decoder`
      (`code_decoder.decoder_settings`). Taken with `start`, which may be high while `busy` is low;
    * `busy`, `cycles`, `read_address`, `read_data`, `o`: as the core's;
    * `a_read`, `b_read`: read ports of the buffers.

    Parameters
    ----------
    rows, columns : int
        Elements of the array.
    activation, weight : Buffer
        Whose ports are connected; lanes are rows and columns.
    result_depth : int
        Words of sums.
    """

    def __init__(
        self, rows: int, columns: int, activation: Buffer, weight: Buffer, result_depth: int
    ) -> None:
        for name, buffer, lanes in (("activation", activation, rows), ("weight", weight, columns)):
            require(buffer.lanes == lanes, f"lanes of {name} must be {lanes}, not {buffer.lanes}")
        element = any_element()
        spec = ArraySpec(rows, columns, "weight_stationary", element, 2, 2, result_depth)
        self.core = ArrayCore(spec, READ_CYCLES)
        self.command_shape = data.StructLayout(
            {
                "program": program_layout(spec),
                "a": activation.operand_layout(LEVELS),
                "b": weight.operand_layout(LEVELS),
                "decoder": DECODER_SETTINGS,
            }
        )
        members = self.core.signature.members
        passed = ("start", "busy", "cycles", "read_address", "read_data", "o")
        super().__init__(
            {
                "command": In(self.command_shape),
                "a_read": Out(activation.read_signature),
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
            core.start.eq(self.start),
            core.read_address.eq(self.read_address),
            self.busy.eq(core.busy),
            self.cycles.eq(core.cycles),
            Value.cast(self.read_data).eq(Value.cast(core.read_data)),
        ]
        wiring.connect(m, core.o, wiring.flipped(self.o))
        for name, operand in (("a", core.left), ("b", core.top)):
            read = getattr(self, f"{name}_read")
            follow(m, name, self.command[name].walk, begins, operand.next, read.address)
            m.d.comb += [
                read.enable.eq(operand.next),
                read.bits.eq(kept[name].bits),
                read.signed.eq(kept[name].signed),
            ]
        for lane, word in enumerate(core.left.word):
            m.submodules[f"decoder_{lane}"] = decoder = CodeDecoder()
            m.d.comb += [
                decoder.code.eq(self.a_read.elements[lane]),
                Value.cast(decoder.settings).eq(Value.cast(kept.decoder)),
                *(word[field].eq(decoder.decoded[field]) for field, _ in word.shape()),
            ]
        for lane, word in enumerate(core.top.word):
            m.d.comb += word.eq(self.b_read.elements[lane])
        return m
