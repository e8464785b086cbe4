"""Addresses of nested loops."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require


def loops_layout(levels: int, address_bits: int, count_bits: int = 16) -> data.StructLayout:
    """Return a first address and, the innermost loop first, how often and how far apart."""
    loop = data.StructLayout({"count": count_bits, "stride": address_bits})
    return data.StructLayout({"base": address_bits, "loops": data.ArrayLayout(loop, levels)})


def follow(
    m: Module, name: str, walk: data.View, load: Value, advance: Value, address: Value
) -> Value:
    """Let `address` follow the loops of `walk`; return whether it is the last of them.

    Parameters
    ----------
    m : Module
        Gets a `Walker`.
    name : str
        Of the operand.
    walk : view of `loops_layout`
        Taken with `load`.
    load, advance, address : Value
        As the ports of `Walker`.
    """
    levels = walk.shape()["loops"].shape.length
    m.submodules[f"{name}_walk"] = walker = Walker(levels, len(address))
    m.d.comb += [
        Value.cast(walker.walk).eq(Value.cast(walk)),
        walker.load.eq(load),
        walker.advance.eq(advance),
        address.eq(walker.address),
    ]
    return walker.last


class Walker(wiring.Component):
    """Addresses of nested loops, one after another; a stride may be negative, modulo the width.

    Ports: `walk` (`loops_layout`) is taken with `load`, and the first address is there in the next
    cycle; `advance` asks for the next one; `address`; `last` while it is the last. The address
    behind the last one is the first again. Counts are 1 or more.

    An adder, two counters and three registers per level.

    Parameters
    ----------
    levels : int in 1..8
        Loops, one in the other.
    address_bits, count_bits : int
        Widths.
    """

    def __init__(self, levels: int, address_bits: int, count_bits: int = 16) -> None:
        require(1 <= levels <= 8, f"levels must be in 1..8, not {levels}")
        self.levels, self.address_bits, self.count_bits = levels, address_bits, count_bits
        super().__init__(
            {
                "walk": In(loops_layout(levels, address_bits, count_bits)),
                "load": In(1),
                "advance": In(1),
                "address": Out(address_bits),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the registers: of each level what is left of it, and where its turn began.

        Whether a level is in its last turn has a register too: a count that goes down knows it a
        turn before.
        """
        m = Module()
        walk = Signal(self.walk.shape())
        left = [Signal(self.count_bits, name=f"left_{k}") for k in range(self.levels)]
        ends = [Signal(name=f"ends_{k}") for k in range(self.levels)]
        begins = [Signal(self.address_bits, name=f"begin_{k}") for k in range(self.levels)]
        m.d.comb += [self.last.eq(Cat(*ends).all()), self.address.eq(begins[0])]
        again = [
            [left[k].eq(loop.count - 1), ends[k].eq(loop.count == 1)]
            for k, loop in enumerate(walk.loops)
        ]
        with m.If(self.load):
            m.d.sync += [walk.eq(self.walk)]
            m.d.sync += [begin.eq(self.walk.base) for begin in begins]
            for k, loop in enumerate(self.walk.loops):
                m.d.sync += [left[k].eq(loop.count - 1), ends[k].eq(loop.count == 1)]
        with m.Elif(self.advance):
            with m.If(self.last):
                m.d.sync += [begin.eq(walk.base) for begin in begins]
                m.d.sync += again
            for level in reversed(range(self.levels)):
                inner_end = Cat(*ends[:level]).all() if level else 1
                with m.If(inner_end & ~ends[level]):
                    # the innermost loop that goes on; those inside it begin where it is now
                    following = begins[level] + walk.loops[level].stride
                    m.d.sync += [begin.eq(following) for begin in begins[: level + 1]]
                    m.d.sync += again[:level]
                    m.d.sync += [left[level].eq(left[level] - 1), ends[level].eq(left[level] == 1)]
        return m
