"""The memory of what channels have of their own: written beat by beat, read a word of lanes."""

from amaranth.hdl import Cat, Module, Value, unsigned
from amaranth.lib import wiring
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
    * `read`: `address` of a word, `enable`; `data` in the next cycle.

    A memory for every beat of a word.

    Parameters
    ----------
    depth : int
        Words.
    beats : int
        Beats of a word.
    beat_bits : int
    """

    def __init__(self, depth: int, beats: int, beat_bits: int) -> None:
        require(depth >= 2, f"depth must be at least 2, not {depth}")
        require(beats >= 2, f"beats must be at least 2, not {beats}")
        self.depth, self.beats, self.beat_bits = depth, beats, beat_bits
        write = {"address": self.address_bits, "word": unsigned(beat_bits), "enable": 1}
        read = {"address": Out(range(depth)), "enable": Out(1), "data": In(beats * beat_bits)}
        super().__init__(
            {
                "write": In(wiring.Signature({name: Out(shape) for name, shape in write.items()})),
                "read": In(wiring.Signature(read)),
            }
        )

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
        shift, parts = self.word_shift, list[Value]()
        for beat in range(self.beats):
            memory = Memory(shape=unsigned(self.beat_bits), depth=self.depth, init=[])
            m.submodules[f"beat_{beat}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.write.address[shift:]),
                write.data.eq(self.write.word),
                write.en.eq(self.write.enable & (self.write.address[:shift] == beat)),
                read.addr.eq(self.read.address),
                read.en.eq(self.read.enable),
            ]
            parts.append(read.data)
        m.d.comb += self.read.data.eq(Cat(parts))
        return m
