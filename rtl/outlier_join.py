"""Gateware twin of hwq.numerics.outlier_join."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from hwq.numerics.outlier_join import MAX_ROW_MULT, SUM_BITS, OutlierJoinSpec, check_join
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.stimulus import values
from hwq.rtl.wide import part_products, total

_CORRECTION = signed(33)
_ROW_MULT = unsigned(MAX_ROW_MULT.bit_length())


class OutlierJoin(StreamUnit):
    """One lane of the side path: an accumulator, its correction, its outliers, its token's factor.

    out[n, j] = (acc[n, j] + correction[j] + sum of side*weight over the terms) * row_mult[n].

    A sum takes any number of terms, one per outlier of the token, and ends with the term whose
    `last` is 1; `acc` counts in the first. Without an outlier it is one term whose side value is
    0. Sums follow each other column by column and token by token; corrections and factors are in
    tables that the unit walks through.

    Latency 4 cycles from the last term; one term per cycle.

    Ports: `i` a structure of `acc`, signed(32), `side`, signed(16), `weight`, signed(8), and
    `last`; `o` signed(46), the joined accumulator.

    Two multipliers, 16 x 8 and, for the factor, 35 x 12 bits; an adder of three operands; memories
    of N words of 33 bits and T words of 12, and their counters.

    Parameters
    ----------
    spec : OutlierJoinSpec
        Factors of the T tokens, corrections of the N columns.
    channels : int
        The most outliers of a token.
    runs : tuple of int
        Terms of successive sums in what a bench sends; nothing in the gateware.
    """

    def __init__(
        self, spec: OutlierJoinSpec, channels: int = 1024, runs: tuple[int, ...] = (1, 3, 2)
    ) -> None:
        check_join(channels, int(spec.row_mult.max()))
        self.spec, self.channels, self.runs = spec, channels, runs
        self.inputs_per_result, self.outputs_per_result = sum(runs), len(runs)
        term = {"acc": signed(32), "side": signed(16), "weight": signed(8), "last": unsigned(1)}
        super().__init__(data.StructLayout(term), signed(SUM_BITS + 1))

    @property
    def latency_cycles(self) -> int:
        """Four registers."""
        return 4

    @property
    def interval_cycles(self) -> int:
        """A term per cycle."""
        return self.inputs_per_result

    @property
    def legal_inputs(self) -> Sequence[tuple[int, int]]:
        """`last` is never 0 where every sum is one term."""
        *operands, _ = super().legal_inputs
        return [*operands, (int(max(self.runs) == 1), 1)]

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, 4] terms -> int64[m] joined accumulators."""
        return self.spec.stream(inputs)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """int64[n, 4]: terms of all magnitudes, in sums of `runs` terms."""
        count = results * self.inputs_per_result
        ends = [(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (32, 16, 8)]
        columns = [values(rng, *end, count) for end in ends]
        last = np.zeros(self.inputs_per_result, np.int64)
        last[np.cumsum(self.runs) - 1] = 1
        return np.stack([*columns, np.tile(last, results)], axis=-1)

    def tables(self, m: Module, ended: Value, enable: Value) -> tuple[Value, Value]:
        """Return correction and factor, a cycle after the term; `ended` as a sum ends."""
        columns, tokens = self.spec.correction.tolist(), self.spec.row_mult.tolist()
        # a depth of one would have no address
        m.submodules.corrections = corrections = Memory(
            shape=_CORRECTION, depth=max(len(columns), 2), init=columns
        )
        m.submodules.row_mults = row_mults = Memory(
            shape=_ROW_MULT, depth=max(len(tokens), 2), init=tokens
        )
        correction, row_mult = corrections.read_port(), row_mults.read_port()
        column, token = Signal.like(correction.addr), Signal.like(row_mult.addr)
        m.d.comb += [correction.addr.eq(column), row_mult.addr.eq(token)]
        m.d.comb += [correction.en.eq(enable), row_mult.en.eq(enable)]
        last_column = column == len(columns) - 1
        with m.If(ended):
            m.d.sync += column.eq(Mux(last_column, 0, column + 1))
            with m.If(last_column):
                m.d.sync += token.eq(Mux(token == len(tokens) - 1, 0, token + 1))
        return correction.data, row_mult.data

    def elaborate(self, platform: object) -> Module:
        """Return the tables and the four stages."""
        m = Module()
        i = self.i.p
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=2)
        m.d.comb += self.i.ready.eq(front.ready)

        # stage 1: multiply, read the tables; 2**15 * 2**7 fits 24 bits with its sign
        correction, row_mult = self.tables(m, self.i.valid & front.load[0] & i.last, front.load[0])
        product, acc, last_1 = Signal(signed(24)), Signal(signed(32)), Signal()
        with m.If(front.load[0]):
            m.d.sync += [product.eq(i.side * i.weight), acc.eq(i.acc), last_1.eq(i.last)]

        # stage 2: sum; |acc + correction| <= 2**32, and 2**22 for every outlier
        largest = (1 << 32) + (self.channels << 22)
        sum_so_far = Signal(signed(largest.bit_length() + 1))
        first, last_2, factor = Signal(init=1), Signal(), Signal(_ROW_MULT)
        with m.If(front.load[1]):
            m.d.sync += [last_2.eq(last_1), factor.eq(row_mult)]
            with m.If(front.valid[0]):
                m.d.sync += first.eq(last_1)
                m.d.sync += sum_so_far.eq(Mux(first, acc + correction, sum_so_far) + product)

        # stages 3 and 4: the factor; `check_join` holds what comes of one split below 2**45
        back = Pipeline(m, front.valid[1] & last_2, self.o.ready, depth=2)
        m.d.comb += [ready.eq(back.ready | ~last_2), self.o.valid.eq(back.valid[1])]
        products = part_products(m, back.load[0], sum_so_far, factor, "product")
        with m.If(back.load[1]):
            m.d.sync += self.o.payload.eq(total(products))
        return m
