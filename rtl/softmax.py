# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.softmax."""

import operator

import numpy as np
from amaranth.hdl import Module, Mux, signed, unsigned
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.softmax import MAX_COLUMNS, SUM_FRAC, SoftmaxSpec
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.rows import (
    Reduce,
    RowBuffer,
    connect,
    fork,
    largest,
    last_word,
    to_rows,
    to_words,
)
from hwq.rtl.softmax_stages import (
    GUARD,
    KNOWN,
    POWER,
    PROBABILITY,
    SHORT_POWER,
    Powers,
    Reciprocal,
    Scale,
)


class Softmax(StreamUnit):
    """Softmax of rows: p_i = 2**x_i / sum_j 2**x_j.

    e_i = 2**(x_i - max(x)) with 30 fraction bits; r = 2**40 / sum(e) to 18 bits;
    p_i = round(e_i * r), at most 65535.

    Three passes of words = ceil(length / lanes) cycles each: the largest score; powers and their
    sum; scaling. The passes of successive rows overlap.

    Latency 2*words + 2*ceil(log2 lanes) + 35 cycles, from a row's last word to its last
    probabilities; a row every `words` cycles.

    Ports: `i` an array of `lanes` scores, signed(in_bits); `o` an array of `lanes` probabilities,
    unsigned(16), of 16 fraction bits. A row's last word uses its first lanes; the rest of it is
    ignored, and leaves as 0.

    Two memories, of words + ceil(log2 lanes) + 4 words of scores and words + ceil(log2 lanes) + 24
    of powers of 18 bits; per lane four multipliers of 18 x frac bits and one of 18 x 18, two
    shifters, a comparator and an adder; one divider of 18 stages.

    Parameters
    ----------
    spec : SoftmaxSpec
        Format of the scores.
    length : int in 1..4096
        Scores per row.
    lanes : int
        Scores per word.
    in_bits : int in 2..32
        Width of a score.
    """

    def __init__(self, spec: SoftmaxSpec, length: int, lanes: int, *, in_bits: int = 16) -> None:
        require(1 <= length <= MAX_COLUMNS, f"length must be in 1..{MAX_COLUMNS}, not {length}")
        require(lanes >= 1, f"lanes must be at least 1, not {lanes}")
        require(2 <= in_bits <= 32, f"in_bits must be in 2..32, not {in_bits}")
        self.spec, self.length, self.lanes, self.in_bits = spec, length, lanes, in_bits
        self.words = -(-length // lanes)
        self.used = length - (self.words - 1) * lanes
        self.inputs_per_result = self.outputs_per_result = self.words
        score = signed(in_bits)
        super().__init__(data.ArrayLayout(score, lanes), data.ArrayLayout(PROBABILITY, lanes))
        # a power is at most 2**30, so their sum at most length * 2**30
        total = unsigned((length << SUM_FRAC).bit_length())
        self.highest = Reduce(score, score, lanes, self.words, largest)
        self.powers = Powers(score, spec.frac, lanes, self.used)
        self.total = Reduce(POWER, total, lanes, self.words, operator.add)
        self.reciprocal = Reciprocal(total)
        self.scale = Scale(lanes)

    @property
    def latency_cycles(self) -> int:
        """All parts, and the words of the second and of the third pass behind the first one."""
        parts = (self.highest, self.powers, self.total, self.reciprocal, self.scale)
        return sum(part.latency_cycles for part in parts) + 2 * (self.words - 1)

    @property
    def interval_cycles(self) -> int:
        """One word per cycle."""
        return self.words

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n*words, lanes] scores -> int64[n*words, lanes]; one dimension if one lane."""
        rows = to_rows(inputs, self.lanes, self.length).astype(np.int32)
        unused = np.zeros((len(rows), self.lanes), np.int64)
        return to_words(self.spec.compute(rows).astype(np.int64), self.lanes, unused)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """Rows of every spread, of equal scores, with one far above, ramps and extremes."""
        high = 1 << (self.in_bits - 1)
        shape = (results, self.length)
        spread = np.exp2(rng.uniform(0, self.in_bits, (results, 1))).astype(np.int64)
        centre = rng.integers(-high, high, (results, 1))
        near = centre + rng.integers(-spread, spread, shape, endpoint=True)
        dominant = np.full(shape, -high)
        winner = rng.integers(0, self.length, results)
        dominant[np.arange(results), winner] = centre[:, 0]
        ramp = centre + rng.integers(-spread, spread, (results, 1)) * np.arange(self.length)
        extremes = rng.choice([-high, -high + 1, -1, 0, high - 1], shape)
        equal = np.broadcast_to(centre, shape)
        kinds = np.stack([near, dominant, ramp, extremes, equal, near])
        rows = kinds[np.arange(results) % len(kinds), np.arange(results)]
        fill = rng.integers(-high, high, (results, self.lanes))
        return to_words(np.clip(rows, -high, high - 1), self.lanes, fill)

    def elaborate(self, platform: object) -> Module:
        """Return the three passes with the buffers between them."""
        m = Module()
        lanes = range(self.lanes)
        score = signed(self.in_bits)
        m.submodules.highest, m.submodules.powers = highest, powers = self.highest, self.powers
        m.submodules.total, m.submodules.reciprocal = total, reciprocal = (
            self.total,
            self.reciprocal,
        )
        m.submodules.scale = scale = self.scale

        # pass 1: the highest score; lanes that are not used never win
        m.submodules.scores = scores = RowBuffer(
            self.i.payload.shape(), score, self.words, highest.latency_cycles
        )
        fork(m, self.i.valid, self.i.ready, [scores.words, highest.i])
        ends = last_word(m, self.words, self.i.valid & self.i.ready)
        lowest = -(1 << (self.in_bits - 1))
        m.d.comb += scores.words.payload.eq(self.i.payload)
        for k in lanes:
            x = self.i.payload[k]
            m.d.comb += highest.i.payload[k].eq(Mux(ends, lowest, x) if k >= self.used else x)
        connect(m, highest.o, scores.known)

        # pass 2: the powers, kept with half as many bits, and their exact sum
        connect(m, scores.o, powers.i)
        waiting = total.latency_cycles + reciprocal.latency_cycles
        m.submodules.kept = kept = RowBuffer(
            data.ArrayLayout(SHORT_POWER, self.lanes), KNOWN, self.words, waiting
        )
        fork(m, powers.o.valid, powers.o.ready, [kept.words, total.i])
        m.d.comb += total.i.payload.eq(powers.o.payload)
        for k in lanes:
            rounded = (powers.o.payload[k] + (1 << (GUARD - 1))) >> GUARD
            m.d.comb += kept.words.payload[k].eq(rounded)
        connect(m, total.o, reciprocal.i)
        connect(m, reciprocal.o, kept.known)

        # pass 3: powers times the reciprocal
        connect(m, kept.o, scale.i)
        m.d.comb += [
            self.o.payload.eq(scale.o.payload),
            self.o.valid.eq(scale.o.valid),
            scale.o.ready.eq(self.o.ready),
        ]
        return m
