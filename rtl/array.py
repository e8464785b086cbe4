"""Gateware twin of hwq.numerics.array."""

from amaranth.hdl import Module, Mux, ShapeLike, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hwq.numerics.array import ArraySpec
from hwq.rtl.array_controller import ArrayController, controller
from hwq.rtl.array_grid import ArrayGrid, delayed
from hwq.rtl.array_program import program_layout, tag_layout
from hwq.rtl.pe import decoded


class Array(wiring.Component):
    """A systolic array that computes out[M, N] = a[M, K] b[K, N] by itself, from its own memories.

    Cycles of a program: (folds - 1) * max(stream, rows) + stream + 2 * rows + columns + 2; see
    `hwq.arch.systolic`. `cycles` holds this number from the last result until the next start.

    Ports:

    * `product` (`array_program.program_layout`) and `start`: taken when `busy` is low;
    * `busy` until the last result is written, `cycles` unsigned(32);
    * `a_write`, `b_write`: `address`, `data` (a word of codes; a word of signed numbers), `enable`;
      may be used at any time;
    * `read_address`, `read_data`: a word of results in the next cycle, while `busy` is low;
    * `o`: complete words of results, one in each cycle in which `valid` is high: `address`,
      `sums` signed(acc_bits) per column and plane. There is no `ready`.

    rows x columns elements, three memories with synchronous reads, an adder per column and plane.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        pe = spec.pe
        sums = data.ArrayLayout(signed(pe.acc_bits), pe.planes)
        self.a_word = data.ArrayLayout(unsigned(pe.a_bits), spec.a_lanes)
        self.b_word = data.ArrayLayout(signed(pe.b_bits), spec.b_lanes)
        self.result_word = data.ArrayLayout(sums, spec.columns)
        result_bits = ceil_log2(spec.result_depth)
        super().__init__(
            {
                "product": In(program_layout(spec)),
                "start": In(1),
                "busy": Out(1),
                "cycles": Out(32),
                "a_write": In(write_port(self.a_word, spec.a_depth)),
                "b_write": In(write_port(self.b_word, spec.b_depth)),
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
        m.d.comb += [
            Value.cast(control.product).eq(self.product),
            control.start.eq(self.start & ~control.busy),
            self.busy.eq(control.busy),
            self.cycles.eq(control.cycles),
        ]
        left, top = control.left, control.top
        a_address, b_address = (left, top) if spec.a_is_left else (top, left)
        a = self._operand(m, "a", self.a_word, spec.a_depth, a_address)
        b = self._operand(m, "b", self.b_word, spec.b_depth, b_address)
        a = [decoded(spec.pe, code) for code in a]
        left_word, top_word = (a, b) if spec.a_is_left else (b, a)

        # the left word has a register behind its decoder. A stationary top word goes straight to
        # the registers that it is shifted through; one that meets the left word has a register too
        edge_cycles = 2 if spec.dataflow == "output_stationary" else 1
        for r, operand in enumerate(left_word):
            m.d.comb += Value.cast(grid.left[r]).eq(delayed(m, operand, 1))
        # columns beyond the edge and, where the block is stationary, rows beyond K are zero
        count = delayed(m, control.top_count, 1)
        for c, operand in enumerate(top_word):
            masked = operand & (count > c).replicate(len(operand))
            m.d.comb += Value.cast(grid.top[c]).eq(delayed(m, masked, edge_cycles - 1))
        for name in grid.controls:
            m.d.comb += getattr(grid, name).eq(delayed(m, getattr(control, name), edge_cycles))

        self._results(m, control, grid)
        return m

    def _operand(
        self, m: Module, name: str, word: data.ArrayLayout, depth: int, address: Value
    ) -> list[Value]:
        """Return the lanes of the word at `address`, one cycle later."""
        memory = Memory(shape=word, depth=depth, init=[])
        m.submodules[f"{name}_memory"] = memory
        write, read = memory.write_port(), memory.read_port()
        port = getattr(self, f"{name}_write")
        m.d.comb += [
            write.addr.eq(port.address),
            Value.cast(write.data).eq(port.data),
            write.en.eq(port.enable),
            read.addr.eq(address),
        ]
        return [Value.cast(read.data[lane]) for lane in range(word.length)]

    def _results(self, m: Module, control: ArrayController, grid: ArrayGrid) -> None:
        """Add a word to the one that is there, write it, and send it if it is complete.

        A word is read one cycle before it is written. The next fold of K comes back to it after
        max(stream, rows) cycles: only if that is one cycle must a read see the write beside it.
        """
        spec = self.spec
        m.submodules.result_memory = memory = Memory(
            shape=self.result_word, depth=spec.result_depth, init=[]
        )
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,) if spec.rows == 1 else ())
        tag_before = data.View(tag_layout(spec), delayed(m, control.tag, spec.rows + spec.columns))
        tag = data.View(tag_layout(spec), delayed(m, tag_before, 1))
        m.d.comb += [
            read.addr.eq(Mux(self.busy, tag_before.address, self.read_address)),
            Value.cast(self.read_data).eq(read.data),
            write.addr.eq(tag.address),
            write.en.eq(tag.valid),
            Value.cast(self.o.sums).eq(write.data),
            self.o.address.eq(tag.address),
            self.o.valid.eq(tag.valid & tag.complete),
            control.finished.eq(tag.valid & tag.last),
        ]
        for c in range(spec.columns):
            for plane in range(spec.pe.planes):
                before = Mux(tag.accumulate, read.data[c][plane], 0)
                m.d.comb += write.data[c][plane].eq(before + grid.sums[c][plane])


def write_port(word: ShapeLike, depth: int) -> wiring.Signature:
    """Return the signature of a memory's write port, as the memory sees it."""
    return wiring.Signature({"address": Out(ceil_log2(depth)), "data": Out(word), "enable": Out(1)})
