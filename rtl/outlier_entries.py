# amaranth: UnusedElaboratable=no
"""Entries of a list of outliers, read from a buffer one by one."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.rtl.buffer import READ_CYCLES, Buffer
from hwq.rtl.pipeline import delayed
from hwq.rtl.walker import follow, loops_layout

ELEMENT_BITS = 16
ENTRY = data.StructLayout(
    {"value": signed(16), "token": unsigned(16), "channel": unsigned(16), "rest": unsigned(16)}
)
"""`hwq.numerics.outlier_list.ENTRY`, as elements of a buffer."""
ELEMENTS = ENTRY.size // ELEMENT_BITS
"""Elements of an entry."""
QUEUE = 2 * READ_CYCLES + 2
"""Words that may be on their way out of the buffer."""


class OutlierEntries(wiring.Component):
    """Reads a list again and again, words of `lanes` / 4 entries.

    The first entry is there 6 cycles after `start`, and then one in each cycle.

    Ports: `walk` (`walker.loops_layout`) over the words of all turns, and `room`, the entries of a
    turn, taken with `start`; `entry` while it is `there`; `last` of its turn; `take`, after which
    the next one comes; `read`, a port of the buffer.

    Parameters
    ----------
    buffer : Buffer
        Whose port is connected.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.lanes = lanes = buffer.lanes
        require(lanes % ELEMENTS == 0, f"lanes must be a multiple of {ELEMENTS}, not {lanes}")
        super().__init__(
            {
                "walk": In(loops_layout(2, buffer.address_bits)),
                "room": In(16),
                "start": In(1),
                "entry": Out(ENTRY),
                "there": Out(1),
                "last": Out(1),
                "take": In(1),
                "read": Out(buffer.read_signature),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the walk over the words, a queue of them, and the place in the first one."""
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=ELEMENT_BITS * self.lanes, depth=QUEUE)
        read, each = self.read, self.lanes // ELEMENTS
        reading, reads, leaves = Signal(), Signal(), Signal()
        promised, place = Signal(range(QUEUE + 1)), Signal(range(max(each, 2)))
        room, count = Signal(16), Signal(16)
        last_word = follow(m, "list", self.walk, self.start, reads, read.address)
        m.d.comb += [
            reads.eq(reading & (promised != QUEUE)),
            read.bits.eq(ELEMENT_BITS),
            read.enable.eq(reads),
            # others have words of this port, too
            queue.w_en.eq(delayed(m, reads, READ_CYCLES)),
            *(
                queue.w_data.word_select(lane, ELEMENT_BITS).eq(element[:ELEMENT_BITS])
                for lane, element in enumerate(read.elements)
            ),
            self.there.eq(queue.r_rdy),
            self.entry.eq(queue.r_data.word_select(place, ENTRY.size)),
            self.last.eq(count + 1 == room),
            # the rest of a list's last word is none of it
            leaves.eq(self.take & (self.last | (place == each - 1))),
            queue.r_en.eq(leaves),
        ]
        with m.If(self.start):
            m.d.sync += [
                reading.eq(1),
                promised.eq(0),
                place.eq(0),
                count.eq(0),
                room.eq(self.room),
            ]
        with m.Else():
            m.d.sync += promised.eq(promised + reads - leaves)
            with m.If(reads & last_word):
                m.d.sync += reading.eq(0)
            with m.If(self.take):
                m.d.sync += [
                    place.eq(Mux(leaves, 0, place + 1)),
                    count.eq(Mux(self.last, 0, count + 1)),
                ]
        return m
