"""The memory of what channels have of their own: written beat by beat or lane by lane."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.errors import require


class ParameterMemory(wiring.Component):
    """Words of several beats.

    A read takes one cycle. One whose `enable` comes in a later cycle than a write's sees it.

    Ports:

    * `write`: `address`, the number of the word and below it that of the beat, `word` of one beat,
      `enable`; addresses of beats that no word has are ignored;
    * `store`: `address` of a word, `data`, `keep`, which lanes of it change, `enable`; not in the
      same word as `write` in one cycle;
    * `read`: two ports: `address` of a word, `enable`; `data` in the next cycle.

    A memory for every beat of a word, with write enables of single bits.

    Parameters
    ----------
    depth : int
        Words.
    beats : int
        Beats of a word.
    beat_bits : int
    lanes : int
        Lanes of a word.
    """

    def __init__(self, depth: int, beats: int, beat_bits: int, lanes: int) -> None:
        require(depth >= 2, f"depth must be at least 2, not {depth}")
        require(beats >= 2, f"beats must be at least 2, not {beats}")
        word_bits = beats * beat_bits
        require(word_bits % lanes == 0, f"{word_bits} bits are no {lanes} lanes")
        self.depth, self.beats, self.beat_bits, self.lanes = depth, beats, beat_bits, lanes
        write = {"address": self.address_bits, "word": unsigned(beat_bits), "enable": 1}
        super().__init__(
            {
                "write": In(wiring.Signature({name: Out(shape) for name, shape in write.items()})),
                "store": In(self.store_signature),
                "read": In(self.read_signature).array(2),
            }
        )

    @property
    def words(self) -> data.ArrayLayout:
        """What a word has for each lane."""
        return data.ArrayLayout(self.beats * self.beat_bits // self.lanes, self.lanes)

    @property
    def read_signature(self) -> wiring.Signature:
        """A read port, as who reads sees it."""
        ports = {"address": Out(range(self.depth)), "enable": Out(1), "data": In(self.words)}
        return wiring.Signature(ports)

    @property
    def store_signature(self) -> wiring.Signature:
        """The port for whole words, as who writes sees it."""
        ports = {"address": range(self.depth), "data": self.words, "keep": self.lanes, "enable": 1}
        return wiring.Signature({name: Out(shape) for name, shape in ports.items()})

    @property
    def word_shift(self) -> int:
        """Bits of an address that number the beats of a word."""
        return int(ceil_log2(self.beats))

    @property
    def address_bits(self) -> int:
        """Width of an address of a beat."""
        return self.word_shift + int(ceil_log2(self.depth))

    def elaborate(self, platform: object) -> Module:
        """Return the memories."""
        m = Module()
        shift, size = self.word_shift, self.beat_bits
        kept = Cat(keep.replicate(self.words.elem_shape) for keep in self.store.keep)
        words = Value.cast(self.store.data)
        parts: list[list[Value]] = [[], []]
        for beat in range(self.beats):
            memory = Memory(shape=unsigned(size), depth=self.depth, init=[])
            m.submodules[f"beat_{beat}"] = memory
            write, store = (memory.write_port(granularity=1) for _ in range(2))
            moved, stored = Signal(name=f"moved_{beat}"), Signal(size, name=f"stored_{beat}")
            m.d.comb += [
                moved.eq(self.write.enable & (self.write.address[:shift] == beat)),
                stored.eq(Mux(self.store.enable, kept.word_select(beat, size), 0)),
                write.addr.eq(self.write.address[shift:]),
                write.data.eq(self.write.word),
                write.en.eq(moved.replicate(size)),
                store.addr.eq(self.store.address),
                store.data.eq(words.word_select(beat, size)),
                store.en.eq(stored),
            ]
            for port, part in zip(self.read, parts, strict=True):
                read = memory.read_port()
                m.d.comb += [read.addr.eq(port.address), read.en.eq(port.enable)]
                part.append(read.data)
        for port, part in zip(self.read, parts, strict=True):
            m.d.comb += Value.cast(port.data).eq(Cat(part))
        return m
