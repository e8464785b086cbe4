# amaranth: UnusedElaboratable=no
"""Moves whole words between a memory behind a request and response port and buffers."""

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.rtl.buffer import READ_CYCLES, WRITE_CYCLES, Buffer
from hwq.rtl.pipeline import delayed
from hwq.rtl.walker import follow, loops_layout

LEVELS = 5
"""Loops of an address: words of a run, runs of a block, blocks; an axis may have two strides."""
_QUEUE = 2 * READ_CYCLES + 2  # words that may be on their way out of the buffer


class Target(IntEnum):
    """Where a load goes."""

    ACTIVATION = 0
    WEIGHT = 1
    PARAMETER = 2


class Dma(wiring.Component):
    """Loads words from a memory into one of several buffers, or stores words of one to the memory.

    Addresses of the memory count words of the buffer's width; on both sides they follow nested
    loops, which have the same number of words. A word of the buffer begins at a granule that is a
    multiple of word_bits / lanes.

    A load asks for a word in every cycle in which the memory is ready, and writes what is answered
    when it comes: answers are in order, any time later. A store sends a word in every cycle in
    which the memory is ready, READ_CYCLES + 3 after `start` at the earliest.

    Ports:

    * `command`: `store`, the `target` of a load, and the addresses `memory` and `buffer`
      (`walker.loops_layout`); taken with `start`, which may be high while `busy` is low;
    * `request`, a stream of `address`, `store` and the `word` to be stored; `response`, a stream of
      words that were asked for, which is always ready;
    * `read`: a port of the buffer whose words are stored;
    * `write`: what is loaded: `target`, `address`, `word`, `enable`.

    Parameters
    ----------
    source : Buffer
        Whose words are stored.
    address_bits : int
        Width of an address of the memory.
    target_bits : int
        Width of an address of the largest target.
    """

    def __init__(self, source: Buffer, address_bits: int, target_bits: int) -> None:
        require(
            source.ratio <= source.max_bits,
            f"max_bits of source must be at least {source.ratio}, to move whole words, "
            f"not {source.max_bits}",
        )
        self.ratio, self.address_bits = source.ratio, address_bits
        self.word = unsigned(source.word_bits)
        target_bits = max(target_bits, source.address_bits)
        self.command_shape = data.StructLayout(
            {
                "store": 1,
                "target": Target,
                "memory": loops_layout(LEVELS, address_bits),
                "buffer": loops_layout(LEVELS, target_bits),
            }
        )
        request = {"address": address_bits, "store": 1, "word": self.word}
        write = {"target": Target, "address": target_bits, "word": self.word, "enable": 1}
        super().__init__(
            {
                "command": In(self.command_shape),
                "start": In(1),
                "busy": Out(1),
                "request": Out(stream.Signature(data.StructLayout(request))),
                "response": In(stream.Signature(self.word, always_ready=True)),
                "read": Out(source.read_signature),
                "write": Out(wiring.Signature({name: Out(shape) for name, shape in write.items()})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return both walks, and the two ways of a word."""
        m = Module()
        store, begins, ends = Signal(), Signal(), Signal()
        m.d.comb += begins.eq(self.start & ~self.busy)
        with m.If(begins):
            m.d.sync += [
                store.eq(self.command.store),
                self.write.target.eq(self.command.target),
                self.busy.eq(1),
            ]
        with m.Elif(ends):
            m.d.sync += self.busy.eq(0)

        sent = self.request.valid & self.request.ready
        answered = self.response.valid
        leaves = sent & store
        outgoing, reads, last_read = self._outgoing(m, begins & self.command.store, leaves)
        asked_all = Signal()
        command, moves = self.command, Mux(store, reads, answered)
        last = follow(m, "memory", command.memory, begins, sent, self.request.p.address)
        last_word = follow(m, "buffer", command.buffer, begins, moves, self.write.address)
        m.d.comb += [
            self.read.address.eq(self.write.address),
            last_read.eq(last_word),
            self.request.p.store.eq(store),
            self.request.p.word.eq(outgoing.r_data),
            self.request.valid.eq(self.busy & Mux(store, outgoing.r_rdy, ~asked_all)),
            outgoing.r_en.eq(leaves),
        ]
        with m.If(begins):
            m.d.sync += asked_all.eq(0)
        with m.Elif(sent & last):
            m.d.sync += asked_all.eq(1)
        m.d.comb += [self.write.word.eq(self.response.payload), self.write.enable.eq(answered)]
        # what reads the buffer next does so a cycle after it starts
        written = delayed(m, answered & last_word & ~store, WRITE_CYCLES - 2)
        m.d.comb += ends.eq(written | (leaves & last))
        return m

    def _outgoing(
        self, m: Module, begins: Value, leaves: Value
    ) -> tuple[SyncFIFOBuffered, Value, Signal]:
        """Read words into a queue that always has room for them.

        Returns the queue, whether a word is read in this cycle, and what must say that it is the
        last one.
        """
        m.submodules.outgoing = queue = SyncFIFOBuffered(width=self.word.width, depth=_QUEUE)
        reading, last = Signal(), Signal()
        promised = Signal(range(_QUEUE + 1))
        reads = Signal()
        m.d.comb += reads.eq(reading & (promised != _QUEUE))
        with m.If(begins):
            m.d.sync += [reading.eq(1), promised.eq(0)]
        with m.Else():
            m.d.sync += promised.eq(promised + reads - leaves)
            with m.If(reads & last):
                m.d.sync += reading.eq(0)
        words = Cat(Value.cast(element)[: self.ratio] for element in self.read.elements)
        m.d.comb += [
            self.read.bits.eq(self.ratio),
            self.read.signed.eq(0),
            self.read.enable.eq(reads),
            queue.w_data.eq(words),
            queue.w_en.eq(self.read.valid),
        ]
        return queue, reads, last
