# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.softmax."""

import operator

import numpy as np
from amaranth.hdl import Module, Mux, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.softmax import MAX_COLUMNS, MAX_FRAC, SUM_FRAC, SoftmaxSpec
from hwq.rtl.pipeline import StreamUnit, settled
from hwq.rtl.rows import (
    KNOWN_CYCLES,
    Reduce,
    RowBuffer,
    connect,
    fork,
    largest,
    mark,
    row_word,
    to_rows,
    to_words,
)
from hwq.rtl.softmax_stages import (
    GUARD,
    KNOWN,
    POWER,
    PROBABILITY,
    SHORT_POWER,
    UP,
    Powers,
    Reciprocal,
    Scale,
)


class SoftmaxCore(StreamUnit):
    """Softmax of rows of any length and format: p_i = 2**x_i / sum_j 2**x_j.

    e_i = 2**(x_i - max(x)) with 30 fraction bits; r = 2**40 / sum(e) to 18 bits;
    p_i = round(e_i * r), at most 65535.

    Three passes of words = ceil(length / lanes) cycles each: the largest score; powers and their
    sum; scaling. The passes of successive rows overlap.

    Latency 2*words + 2*ceil(log2 lanes) + 38 cycles, from a row's last word to its last
    probabilities; a row every `words` cycles.

    Ports: `i` words of rows (`hwq.rtl.rows.row_word`), scores of signed(in_bits); `o` an array of
    `lanes` probabilities, unsigned(16), of 16 fraction bits, 0 where the score is not kept;
    `settings`: `up`, 14 less the fraction bits of the scores.

    Two memories, of words + ceil(log2 lanes) + 4 words of scores and words + ceil(log2 lanes) + 25
    of powers of 18 bits, words being those of the longest row; per lane four multipliers of
    18 x 14 bits and one of 18 x 18, three shifters, a comparator and an adder; one divider of 18
    stages.

    Parameters
    ----------
    max_length : int in 1..4096
        Scores of the longest row.
    lanes : int
        Scores per word.
    in_bits : int in 2..32
        Width of a score.
    """

    def __init__(self, max_length: int, lanes: int, *, in_bits: int = 16) -> None:
        require(
            1 <= max_length <= MAX_COLUMNS, f"length must be in 1..{MAX_COLUMNS}, not {max_length}"
        )
        require(lanes >= 1, f"lanes must be at least 1, not {lanes}")
        require(2 <= in_bits <= 32, f"in_bits must be in 2..32, not {in_bits}")
        self.max_length, self.lanes, self.in_bits = max_length, lanes, in_bits
        self.words = -(-max_length // lanes)
        score = signed(in_bits)
        super().__init__(
            row_word(score, lanes),
            data.ArrayLayout(PROBABILITY, lanes),
            {"settings": In(data.StructLayout({"up": UP}))},
        )
        # a power is at most 2**30, so their sum at most length * 2**30
        total = unsigned((max_length << SUM_FRAC).bit_length())
        self.highest = Reduce(score, score, lanes, largest)
        self.powers = Powers(score, lanes)
        self.total = Reduce(POWER, total, lanes, operator.add)
        self.reciprocal = Reciprocal(total)
        self.scale = Scale(lanes)

    @property
    def latency_cycles(self) -> int:
        """All parts, and buffer and words of the longest row for the second and third pass."""
        parts = (self.highest, self.powers, self.total, self.reciprocal, self.scale)
        return sum(part.latency_cycles for part in parts) + 2 * (KNOWN_CYCLES + self.words - 1)

    def settings_of(self, spec: SoftmaxSpec) -> dict[str, int]:
        """Return the settings for scores of a format."""
        return settled(self.settings.shape(), up=MAX_FRAC - spec.frac)

    def elaborate(self, platform: object) -> Module:
        """Return the three passes with the buffers between them."""
        m = Module()
        score = signed(self.in_bits)
        m.submodules.highest, m.submodules.powers = highest, powers = self.highest, self.powers
        m.submodules.total, m.submodules.reciprocal = total, reciprocal = (
            self.total,
            self.reciprocal,
        )
        m.submodules.scale = scale = self.scale

        # pass 1: the highest score; lanes that are not kept never win
        m.submodules.scores = scores = RowBuffer(
            powers.word, score, self.words, highest.latency_cycles
        )
        fork(m, self.i.valid, self.i.ready, [scores.words, highest.i])
        lowest = -(1 << (self.in_bits - 1))
        word = self.i.p
        m.d.comb += [
            scores.words.p.word.scores.eq(word.elements),
            scores.words.p.word.keep.eq(word.keep),
            scores.words.p.last.eq(word.last),
            highest.i.p.last.eq(word.last),
            powers.up.eq(self.settings.up),
        ]
        for k in range(self.lanes):
            m.d.comb += highest.i.p.elements[k].eq(Mux(word.keep[k], word.elements[k], lowest))
        connect(m, highest.o, scores.known)

        # pass 2: the powers, kept with half as many bits, and their exact sum
        connect(m, scores.o, powers.i)
        waiting = total.latency_cycles + reciprocal.latency_cycles
        m.submodules.kept = kept = RowBuffer(
            data.ArrayLayout(SHORT_POWER, self.lanes), KNOWN, self.words, waiting
        )
        fork(m, powers.o.valid, powers.o.ready, [kept.words, total.i])
        m.d.comb += [
            total.i.payload.eq(powers.o.payload),
            kept.words.p.last.eq(powers.o.p.last),
        ]
        for k in range(self.lanes):
            rounded = (powers.o.p.elements[k] + (1 << (GUARD - 1))) >> GUARD
            m.d.comb += kept.words.p.word[k].eq(rounded)
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


class Softmax(StreamUnit):
    """Softmax of rows of one length and format, which `SoftmaxCore` computes.

    Ports: `i` an array of `lanes` scores, signed(in_bits); `o` an array of `lanes` probabilities,
    unsigned(16), of 16 fraction bits. A row's last word uses its first lanes; the rest of it is
    ignored, and leaves as 0.

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
        self.spec, self.length, self.lanes, self.in_bits = spec, length, lanes, in_bits
        self.core = SoftmaxCore(length, lanes, in_bits=in_bits)
        self.inputs_per_result = self.outputs_per_result = self.core.words
        super().__init__(data.ArrayLayout(signed(in_bits), lanes), self.core.o.payload.shape())

    @property
    def latency_cycles(self) -> int:
        """That of the core for its longest row."""
        return self.core.latency_cycles

    @property
    def interval_cycles(self) -> int:
        """One word per cycle."""
        return self.inputs_per_result

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
        """Return the core, with its words marked."""
        m = Module()
        m.submodules.core = core = self.core
        mark(m, core.i, self.i, self.length)
        m.d.comb += core.settings.up.eq(core.settings_of(self.spec)["up"])
        wiring.connect(m, core.o, wiring.flipped(self.o))
        return m
