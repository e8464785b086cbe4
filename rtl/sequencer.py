# amaranth: UnusedElaboratable=no
"""Fetches the commands of a plan, and lets engines and DMA begin slot by slot."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, ShapeLike, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require

WORD_BITS = 64
"""Bits of a word of commands."""


def fetch_port(address_bits: int) -> wiring.Signature:
    """Return the signature of a memory of words, as the reader sees it."""
    return wiring.Signature({"address": Out(address_bits), "word": In(WORD_BITS)})


def work_layout(
    flags: Mapping[str, ShapeLike], commands: Mapping[str, ShapeLike], alone: str
) -> data.FlexibleLayout:
    """Return a record: flags, and commands; that of the unit that works alone is where others are.

    Parameters
    ----------
    flags, commands : mapping of str to ShapeLike
    alone : str
        One of the commands.
    """
    fields: dict[str, data.Field] = {}

    def placed(shapes: Mapping[str, ShapeLike], place: int) -> int:
        for name, shape in shapes.items():
            fields[name] = data.Field(shape, place)
            place += fields[name].width
        return place

    begin = placed(flags, 0)
    together = {name: shape for name, shape in commands.items() if name != alone}
    size = max(placed(together, begin), placed({alone: commands[alone]}, begin))
    return data.FlexibleLayout(size, fields)


class Fetcher(wiring.Component):
    """Reads one record after another, each ahead of its use.

    From when a record is taken to when the next one is there: `hwq.plan.timing.FETCH_CYCLES` more
    than it has words.

    Ports: `start`, from word 0; `fetch`: `address` of a word, which is there in the next cycle;
    `record`, while it is `ready`; `take`, after which the next one is fetched.

    Parameters
    ----------
    layout : data.StructLayout
        Of a record.
    words : int
        Words of a record.
    address_bits : int
        Width of an address of words.
    """

    def __init__(self, layout: data.StructLayout, words: int, address_bits: int) -> None:
        room = words * WORD_BITS
        require(layout.size <= room, f"a record must have at most {room} bits, not {layout.size}")
        self.layout, self.words = layout, words
        super().__init__(
            {
                "start": In(1),
                "fetch": Out(fetch_port(address_bits)),
                "record": Out(layout),
                "ready": Out(1),
                "take": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the address and the words so far."""
        m = Module()
        words = self.words
        record = Signal(words * WORD_BITS)
        asked, received = Signal(range(words + 1), init=words), Signal(range(words + 1))
        asks, comes = Signal(), Signal()
        m.d.comb += [
            asks.eq(asked != words),
            self.ready.eq(received == words),
            Value.cast(self.record).eq(record),
        ]
        m.d.sync += comes.eq(asks)
        with m.If(comes):
            m.d.sync += [
                record.eq(Cat(record[WORD_BITS:], self.fetch.word)),
                received.eq(received + 1),
            ]
        with m.If(asks):
            m.d.sync += [asked.eq(asked + 1), self.fetch.address.eq(self.fetch.address + 1)]
        with m.If(self.start | self.take):
            m.d.sync += [asked.eq(0), received.eq(0)]
        with m.If(self.start):
            m.d.sync += self.fetch.address.eq(0)
        return m


class Sequencer(wiring.Component):
    """Runs slots: in each, one unit computes while the DMA makes its transfers one by one.

    A slot ends when both are done, and the next begins in that cycle, if its commands are there.

    Ports: `start` while `busy` is low; `work`, a record of what is done in a slot, of which
    `moves` says whether there are transfers, and `ends` whether it is the last slot; `transfer`, of
    which `last` says whether it is the slot's last; either with `ready` and `take`; `idle`, whether
    no unit works; `moving`, whether the DMA does; `begins`, with which a unit takes its command,
    and `moves`, with which the DMA does; `slot` counts the slots that have begun.
    """

    def __init__(self) -> None:
        record = {"ready": In(1), "take": Out(1)}
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "work": Out(wiring.Signature(record | {"moves": In(1), "ends": In(1)})),
                "transfer": Out(wiring.Signature(record | {"last": In(1)})),
                "idle": In(1),
                "moving": In(1),
                "begins": Out(1),
                "moves": Out(1),
                "slot": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return what is left of a slot, and when the next one begins."""
        m = Module()
        work, transfer = self.work, self.transfer
        more, ended = Signal(), Signal()
        done = Signal()
        m.d.comb += [
            done.eq(self.idle & ~self.moving & ~more),
            self.begins.eq(self.busy & done & ~ended & work.ready & (~work.moves | transfer.ready)),
            self.moves.eq((self.begins & work.moves) | (more & ~self.moving & transfer.ready)),
            work.take.eq(self.begins),
            transfer.take.eq(self.moves),
        ]
        with m.If(self.moves):
            m.d.sync += more.eq(~transfer.last)
        with m.If(self.begins):
            m.d.sync += [self.slot.eq(self.slot + 1), ended.eq(work.ends)]
        with m.If(self.start & ~self.busy):
            m.d.sync += [self.busy.eq(1), ended.eq(0), self.slot.eq(0)]
        with m.Elif(ended & done & work.ready):  # the last slot is as long as any other
            m.d.sync += self.busy.eq(0)
        return m
