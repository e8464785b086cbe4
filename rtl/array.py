"""Gateware twin of hwq.numerics.array."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.errors import require
from hwq.numerics.array import ArraySpec
from hwq.rtl.array_controller import controller
from hwq.rtl.array_grid import ArrayGrid
from hwq.rtl.array_program import address_bits, program_layout, tag_layout
from hwq.rtl.pe import decoded, decoded_layout
from hwq.rtl.pipeline import delayed


class ArrayCore(wiring.Component):
    """A systolic array that computes out[M, N] = a[M, K] b[K, N] from operands that it asks for.

    Cycles of a program: (folds - 1) * max(stream, rows) + stream + 2 * rows + columns + 1 +
    read_cycles; see `hwq.arch.systolic`. `cycles` holds this number from the last result until the
    next start.

    Ports:

    * `product` (`array_program.program_layout`) and `start`: taken when `busy` is low;
    * `busy` until the last result is written, `cycles` unsigned(32);
    * `left`, `top`: of each operand `address`, and `next` while a word of it is asked for, in the
      order of the addresses; `word`, read_cycles later: decoded codes, or signed numbers;
    * `read_address`, `read_data`: a word of results in the next cycle, while `busy` is low;
    * `o`: complete words of results, one in each cycle in which `valid` is high: `address`,
      `sums` signed(acc_bits) per column and plane. There is no `ready`.

    rows x columns elements, a memory with synchronous reads for each plane, an adder per column
    and plane.

    Parameters
    ----------
    spec : ArraySpec
    read_cycles : int
        From the cycle in which a word is asked for to the one in which it is there.
    modes : bool
        Whether there are three more ports, taken with `start`: `late`, with which words of the top
        operand are there `rows` cycles later, and so is all else; `single`, with which only the
        first plane counts. Its sums have all of result_depth words, those of two planes half.
        With `joined` the sums of the second plane are not the array's: `side` writes them, before
        the last one of several folds of K adds nothing to them.
    """

    def __init__(self, spec: ArraySpec, read_cycles: int = 1, modes: bool = False) -> None:
        require(read_cycles >= 1, f"read_cycles must be at least 1, not {read_cycles}")
        require(not modes or spec.pe.planes == 2, "modes are those of an array of two planes")
        self.spec, self.read_cycles, self.modes = spec, read_cycles, modes
        pe = spec.pe
        sums = data.ArrayLayout(signed(pe.acc_bits), pe.planes)
        self.result_word = data.ArrayLayout(sums, spec.columns)
        left_bits, top_bits, result_bits = address_bits(spec)
        a, b = decoded_layout(pe), signed(pe.b_bits)
        left, top = (a, b) if spec.a_is_left else (b, a)
        super().__init__(
            {
                **(_mode_ports(result_bits, spec) if modes else {}),
                "product": In(program_layout(spec)),
                "start": In(1),
                "busy": Out(1),
                "cycles": Out(32),
                "left": Out(_operand_port(left_bits, data.ArrayLayout(left, spec.rows))),
                "top": Out(_operand_port(top_bits, data.ArrayLayout(top, spec.columns))),
                "read_address": In(result_bits),
                "read_data": Out(self.result_word),
                "o": Out(
                    wiring.Signature(
                        {
                            "valid": Out(1),
                            "address": Out(result_bits),
                            "sums": Out(self.result_word),
                        }
                    )
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the path of the operands, the grid, and the path of the results."""
        m = Module()
        spec = self.spec
        m.submodules.controller = control = controller(spec)
        m.submodules.grid = grid = ArrayGrid(spec)
        begins, late, single = self.start & ~control.busy, Signal(), Signal()
        self._joined = Signal()
        if self.modes:
            with m.If(begins):
                m.d.sync += [
                    late.eq(self.late),
                    single.eq(self.single),
                    self._joined.eq(self.joined),
                ]
        m.d.comb += [
            Value.cast(control.product).eq(self.product),
            control.start.eq(begins),
            self.busy.eq(control.busy),
            self.cycles.eq(control.cycles),
            self.left.address.eq(self._later(m, late, control.left)),
            self.left.next.eq(self._later(m, late, control.left_next)),
            self.top.address.eq(control.top),
            self.top.next.eq(control.top_next),
        ]

        # the left word has a register behind its decoder. A stationary top word goes straight to
        # the registers that it is shifted through; one that meets the left word has a register too
        edge_cycles = 2 if spec.dataflow == "output_stationary" else 1
        for r, operand in enumerate(self.left.word):
            m.d.comb += Value.cast(grid.left[r]).eq(delayed(m, operand, 1))
        # columns beyond the edge and, where the block is stationary, rows beyond K are zero
        count = delayed(m, self._later(m, late, control.top_count), self.read_cycles)
        for c, operand in enumerate(self.top.word):
            bits = Value.cast(operand)
            masked = bits & (count > c).replicate(len(bits))
            m.d.comb += Value.cast(grid.top[c]).eq(delayed(m, masked, edge_cycles - 1))
        edge_cycles += self.read_cycles - 1
        for name in grid.controls:
            control_late = self._later(m, late, getattr(control, name))
            m.d.comb += getattr(grid, name).eq(delayed(m, control_late, edge_cycles))

        before = spec.rows + spec.columns + self.read_cycles - 1
        tag = delayed(m, self._later(m, late, control.tag), before)
        finished = self._results(m, data.View(tag_layout(spec), tag), grid, single)
        m.d.comb += control.finished.eq(finished)
        return m

    def _later(self, m: Module, late: Value, value: ValueLike) -> Value:
        """Return a value `rows` cycles later, if all of the product is."""
        now = Value.cast(value)
        return Mux(late, delayed(m, now, self.spec.rows), now) if self.modes else now

    def _results(self, m: Module, tag_before: data.View, grid: ArrayGrid, single: Value) -> Value:
        """Add a word to the one that is there, write it, send it; return whether it is the last.

        A word is read one cycle before it is written. The next fold of K comes back to it after
        max(stream, rows) cycles: only if that is one cycle must a read see the write beside it.

        A single plane has its words in the memories of all planes in turns.
        """
        spec, planes = self.spec, range(self.spec.pe.planes)
        tag = data.View(tag_layout(spec), delayed(m, tag_before, 1))
        word = data.ArrayLayout(signed(spec.pe.acc_bits), spec.columns)
        totals = [Signal(word, name=f"total_{plane}") for plane in planes]
        reads = []
        for plane in planes:
            memory = Memory(shape=word, depth=spec.result_depth >> self.modes, init=[])
            m.submodules["result_memory" + f"_{plane}" * (len(planes) > 1)] = memory
            write = memory.write_port()
            read = memory.read_port(transparent_for=(write,) if spec.rows == 1 else ())
            reads.append(read)
            address = Mux(self.busy, tag_before.address, self.read_address)
            mine = ~single | (tag.address[0] == plane)
            m.d.comb += [
                read.addr.eq(Mux(single, address >> 1, address)),
                write.addr.eq(Mux(single, tag.address >> 1, tag.address)),
                write.en.eq(tag.valid & mine),
                Value.cast(write.data).eq(Mux(single, totals[0], totals[plane])),
            ]
            if self.modes and plane > 0:
                with m.If(self._joined):
                    m.d.comb += [
                        write.addr.eq(self.side.address),
                        write.en.eq(self.side.enable),
                        write.data.eq(self.side.sums),
                    ]
        odd = reads[-1].data
        for c in range(spec.columns):
            for plane in planes:
                there: Value = reads[plane].data[c]
                if self.modes and plane == 0:
                    there = Mux(single & tag.address[0], odd[c], there)
                before = Mux(tag.accumulate, there, 0)
                m.d.comb += [
                    totals[plane][c].eq(before + grid.sums[c][plane]),
                    self.o.sums[c][plane].eq(Mux(single & (plane > 0), 0, totals[plane][c])),
                    self.read_data[c][plane].eq(reads[plane].data[c]),
                ]
        m.d.comb += [
            self.o.address.eq(tag.address),
            self.o.valid.eq(tag.valid & tag.complete),
        ]
        return tag.valid & tag.last


class Array(wiring.Component):
    """An array with memories of its operands, whose codes are those of its elements' tables.

    Ports are those of `ArrayCore`, without the operands, and

    * `a_write`, `b_write`: `address`, `data` (a word of codes; a word of signed numbers), `enable`;
      may be used at any time.

    The core, two memories with synchronous reads, and a decoder per lane of codes.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec, self.core = spec, ArrayCore(spec)
        pe = spec.pe
        self.a_word = data.ArrayLayout(unsigned(pe.a_bits), spec.a_lanes)
        self.b_word = data.ArrayLayout(signed(pe.b_bits), spec.b_lanes)
        self.result_word = self.core.result_word
        members = dict(self.core.signature.members)
        del members["left"], members["top"]
        super().__init__(
            {
                **members,
                "a_write": In(write_port(self.a_word, spec.a_depth)),
                "b_write": In(write_port(self.b_word, spec.b_depth)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the core and the memories."""
        m = Module()
        spec, core = self.spec, self.core
        m.submodules.core = core
        a_port, b_port = (core.left, core.top) if spec.a_is_left else (core.top, core.left)
        for lane, code in enumerate(self._operand(m, "a", self.a_word, spec.a_depth, a_port)):
            m.d.comb += Value.cast(a_port.word[lane]).eq(decoded(spec.pe, code))
        for lane, number in enumerate(self._operand(m, "b", self.b_word, spec.b_depth, b_port)):
            m.d.comb += Value.cast(b_port.word[lane]).eq(number)
        m.d.comb += [
            Value.cast(core.product).eq(Value.cast(self.product)),
            core.start.eq(self.start),
            core.read_address.eq(self.read_address),
            self.busy.eq(core.busy),
            self.cycles.eq(core.cycles),
            Value.cast(self.read_data).eq(Value.cast(core.read_data)),
        ]
        wiring.connect(m, core.o, wiring.flipped(self.o))
        return m

    def _operand(
        self,
        m: Module,
        name: str,
        word: data.ArrayLayout,
        depth: int,
        port: wiring.FlippedInterface | wiring.PureInterface,
    ) -> list[Value]:
        """Return the lanes of the word at the address that is asked for, one cycle later."""
        memory = Memory(shape=word, depth=depth, init=[])
        m.submodules[f"{name}_memory"] = memory
        write, read = memory.write_port(), memory.read_port()
        outside = getattr(self, f"{name}_write")
        m.d.comb += [
            write.addr.eq(outside.address),
            Value.cast(write.data).eq(outside.data),
            write.en.eq(outside.enable),
            read.addr.eq(port.address),
        ]
        return [Value.cast(read.data[lane]) for lane in range(word.length)]


def _mode_ports(address_bits: int, spec: ArraySpec) -> dict[str, wiring.Member]:
    """Return the ports of an array that has modes."""
    sums = data.ArrayLayout(signed(spec.pe.acc_bits), spec.columns)
    side = {"address": Out(address_bits), "sums": Out(sums), "enable": Out(1)}
    flags = {name: In(1) for name in ("late", "single", "joined")}
    return {**flags, "side": In(wiring.Signature(side))}


def _operand_port(bits: int, word: data.ArrayLayout) -> wiring.Signature:
    """Return the signature of an operand, as the core sees it."""
    return wiring.Signature({"address": Out(bits), "next": Out(1), "word": In(word)})


def write_port(word: ShapeLike, depth: int) -> wiring.Signature:
    """Return the signature of a memory's write port, as the memory sees it."""
    return wiring.Signature({"address": Out(ceil_log2(depth)), "data": Out(word), "enable": Out(1)})
