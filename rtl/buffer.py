"""The on-chip buffer: words of bits in two banks, read and written as lanes of packed elements."""

from typing import Final

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hwq.errors import require
from hwq.rtl.pipeline import delayed
from hwq.rtl.walker import loops_layout

READ_CYCLES: Final = 3  # from a read's enable to its elements
WRITE_CYCLES: Final = 3  # from a write's enable to the first read that sees it


class Buffer(wiring.Component):
    """A memory whose elements are packed at any width, 1 to max_bits bits.

    A lane word is `lanes` consecutive elements of `bits` bits each, the first in the lowest bits.
    It begins at any multiple of `lanes` bits, so addresses count granules of `lanes` bits: with
    word_bits / lanes = r, granule g begins lanes * (g mod r) bits into word g // r.

    The caller keeps a lane word within two neighbouring words, (g mod r) + bits <= 2*r, and within
    the memory. All lane words of a row that begins at a word do so if bits <= r + gcd(bits, r).

    A read takes READ_CYCLES, a write WRITE_CYCLES, and every port starts one in each cycle. A read
    whose `enable` comes WRITE_CYCLES or more after a write's sees it; an earlier one sees what was
    there before. Two writes of one cycle must not write the same bit; they may share a word.

    Ports, each an array of interfaces:

    * `read`: `address`, in granules; `bits`, of an element, 1..max_bits; `signed`; `enable`.
      READ_CYCLES later `valid` is high and `elements`, signed(max_bits + 1) per lane, are there;
    * `write`: `address`, `bits`, `enable` likewise; `elements`, whose low `bits` bits are stored;
      `keep`, one bit a lane: only elements whose bit is set change.

    Two memories of depth/2 words, with a port each for every port and write enables of single
    bits. A rotation of two words by log2(2*r) steps, one for a read, two for a write (elements and
    mask); per bit of an element a choice among max_bits.

    Parameters
    ----------
    depth : int
        Words, even: those of even and of odd number are in one bank each.
    word_bits : int
        Bits of a word: lanes times a power of two.
    lanes : int
        Elements of a lane word.
    max_bits : int
        Bits of the widest element.
    reads, writes : int
        Number of ports.
    """

    def __init__(
        self, depth: int, word_bits: int, lanes: int, max_bits: int, reads: int, writes: int
    ) -> None:
        # a bank of one word would have no address
        require(depth >= 4 and depth % 2 == 0, f"depth must be even, 4 or more, not {depth}")
        require(lanes >= 1, f"lanes must be at least 1, not {lanes}")
        ratio = word_bits // lanes
        require(
            ratio.bit_count() == 1 and ratio * lanes == word_bits > 0,
            f"word_bits must be {lanes} times a power of two, not {word_bits}",
        )
        # more would not fit in two words
        require(1 <= max_bits <= 2 * ratio, f"max_bits must be in 1..{2 * ratio}, not {max_bits}")
        require(reads >= 1, f"reads must be at least 1, not {reads}")
        require(writes >= 1, f"writes must be at least 1, not {writes}")
        self.depth, self.word_bits, self.lanes, self.max_bits = depth, word_bits, lanes, max_bits
        self.reads, self.writes, self.ratio = reads, writes, ratio
        common = {
            "address": Out(self.address_bits),
            "bits": Out(range(max_bits + 1)),
            "enable": Out(1),
        }
        elements = data.ArrayLayout(signed(max_bits + 1), lanes)
        read = {"signed": Out(1), "elements": In(elements), "valid": In(1)}
        write = {"elements": Out(elements), "keep": Out(lanes)}
        super().__init__(
            {
                "read": In(wiring.Signature(common | read)).array(reads),
                "write": In(wiring.Signature(common | write)).array(writes),
            }
        )

    @property
    def read_signature(self) -> wiring.Signature:
        """A read port, as who reads sees it."""
        return self.signature.members["read"].signature.flip()

    @property
    def write_signature(self) -> wiring.Signature:
        """A write port, as who writes sees it."""
        return self.signature.members["write"].signature.flip()

    @property
    def address_bits(self) -> int:
        """Width of an address."""
        bits: int = ceil_log2(self.depth * self.ratio)
        return bits

    def operand_layout(self, levels: int) -> data.StructLayout:
        """Return what a command says of an operand: its addresses in so many loops, and its width.

        `walk`, `bits`, and whether it is `signed`.
        """
        walk = loops_layout(levels, self.address_bits)
        return data.StructLayout({"walk": walk, "bits": range(self.max_bits + 1), "signed": 1})

    def elaborate(self, platform: object) -> Module:
        """Return the banks and what is before and behind each port."""
        m = Module()
        m.submodules.even, m.submodules.odd = banks = [
            Memory(shape=unsigned(self.word_bits), depth=self.depth // 2, init=[]) for _ in range(2)
        ]
        for number, port in enumerate(self.read):
            m.submodules[f"read_{number}"] = self._reader(port, banks)
        for number, port in enumerate(self.write):
            m.submodules[f"write_{number}"] = self._writer(port, banks)
        return m

    def _place(self, address: Value) -> tuple[list[Value], Value]:
        """Return the row of each bank, and the granule that `address` is in both words together.

        The rows are those of the address's word and the next; the even one is the lower, so a lane
        word that begins in the odd one goes around.
        """
        word = address[exact_log2(self.ratio) :]
        # behind the last word there is none: nothing is taken of that row, whichever it is
        return [(word + 1)[1 : len(word)], word[1:]], address[: exact_log2(2 * self.ratio)]

    def _reader(self, port: wiring.FlippedInterface, banks: list[Memory]) -> Module:
        """Return the stages of a read port."""
        m = Module()
        m.d.comb += port.valid.eq(delayed(m, port.enable, READ_CYCLES))

        # stage 1: read a word of each bank
        rows, place = self._place(port.address)
        words = [bank.read_port() for bank in banks]
        for word, row in zip(words, rows, strict=True):
            m.d.comb += [word.addr.eq(row), word.en.eq(port.enable)]

        # stage 2: rotate, so that the lane word comes first
        both = Cat(word.data for word in words)
        first = rotated(m, "word", both, delayed(m, place, 1), -self.lanes)
        lane_word = delayed(m, first[: self.lanes * self.max_bits], 1)
        bits, is_signed = delayed(m, port.bits, 2), delayed(m, port.signed, 2)

        # stage 3: take the elements apart
        with m.Switch(bits):
            for count in range(1, self.max_bits + 1):
                with m.Case(count) if count < self.max_bits else m.Default():
                    for lane in range(self.lanes):
                        code = lane_word[lane * count : (lane + 1) * count]
                        m.d.sync += port.elements[lane].eq(Mux(is_signed, code.as_signed(), code))
        return m

    def _writer(self, port: wiring.FlippedInterface, banks: list[Memory]) -> Module:
        """Return the stages of a write port."""
        m = Module()
        rows, place = self._place(port.address)
        place = delayed(m, place, 1)

        # stage 1: pack elements and mask, which is 0 unless something is written; what is beyond
        # a lane word stays 0
        packed, mask = Signal(2 * self.word_bits), Signal(2 * self.word_bits)
        m.d.sync += mask.eq(0)
        with m.If(port.enable), m.Switch(port.bits):
            for count in range(1, self.max_bits + 1):
                with m.Case(count) if count < self.max_bits else m.Default():
                    codes = [Value.cast(port.elements[k])[:count] for k in range(self.lanes)]
                    m.d.sync += [
                        packed.eq(Cat(codes)),
                        mask.eq(Cat(keep.replicate(count) for keep in port.keep)),
                    ]

        # stage 2: rotate to where the lane word belongs
        placed = delayed(m, rotated(m, "word", packed, place, self.lanes), 1)
        enable = delayed(m, rotated(m, "mask", mask, place, self.lanes), 1)

        # stage 3: write the bits of the mask in each bank
        for number, (bank, row) in enumerate(zip(banks, rows, strict=True)):
            write = bank.write_port(granularity=1)
            m.d.comb += [
                write.addr.eq(delayed(m, row, 2)),
                write.data.eq(placed.word_select(number, self.word_bits)),
                write.en.eq(enable.word_select(number, self.word_bits)),
            ]
        return m


def write_word(
    m: Module, port: wiring.FlippedInterface, address: Value, word: Value, enable: Value
) -> None:
    """Let a write port write a whole word, whose granule is `address`."""
    lanes = port.elements.shape().length
    ratio = len(word) // lanes
    m.d.comb += [
        port.address.eq(address),
        port.bits.eq(ratio),
        port.keep.eq(-1),
        port.enable.eq(enable),
        *(port.elements[lane].eq(word.word_select(lane, ratio)) for lane in range(lanes)),
    ]


def rotated(m: Module, name: str, value: Value, places: Value, step: int) -> Value:
    """Return `value` rotated up by places * step bits, down if `step` is negative."""
    for k, place in enumerate(places):
        turned = Signal(len(value), name=f"{name}_{k}")
        m.d.comb += turned.eq(Mux(place, value.rotate_left(step << k), value))
        value = turned
    return value
