# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.layer_norm."""

import numpy as np
from amaranth.hdl import Module, Mux, Shape
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.layer_norm import LayerNorm as NormSpec
from hwq.rtl.affine import Affine
from hwq.rtl.layer_norm_stages import ELEMENT, LARGEST, ReciprocalDeviation, Sums
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.rows import RowBuffer, connect, fork, last_word, to_rows, to_words


class LayerNorm(StreamUnit):
    """Layer normalisation of tokens: y = (x - mean) / sqrt(variance + eps) * gamma + beta.

    Exact sum and sum of squares; an 18-bit root and the reciprocal of it; rounded half up to 16
    fraction bits, and after gamma and beta to the format of y, which saturates. Without
    centering the mean is 0 (RMSNorm).

    Two passes of words = ceil(dim / lanes) cycles each: the sums; normalisation. The passes of
    successive tokens overlap.

    Latency words + ceil(log2 lanes) + 50 cycles, from a token's last word to its last result; a
    token every `words` cycles.

    Ports: `i` an array of `lanes` elements, signed(16); `o` an array of `lanes` elements in the
    format `spec.out`. A token's last word uses its first lanes; the rest of it is ignored, and
    leaves as 0.

    A memory of words + ceil(log2 lanes) + 46 words, and two of `words` words of gamma and beta; per
    lane four multipliers (square, D*x, normalisation, gamma) and a shifter; one root of 18 stages
    and one divider of 19.

    Parameters
    ----------
    spec : hwq.numerics.layer_norm.LayerNorm
        Formats, gamma and beta.
    lanes : int
        Elements per word.
    """

    def __init__(self, spec: NormSpec, lanes: int) -> None:
        require(lanes >= 1, f"lanes must be at least 1, not {lanes}")
        self.spec, self.length, self.lanes = spec, spec.spec.dim, lanes
        self.words = -(-self.length // lanes)
        self.used = self.length - (self.words - 1) * lanes
        self.inputs_per_result = self.outputs_per_result = self.words
        out = Shape(spec.spec.out.bits, spec.spec.out.signed)
        super().__init__(data.ArrayLayout(ELEMENT, lanes), data.ArrayLayout(out, lanes))
        self.sums = Sums(self.length, lanes, self.words, spec.spec.centered)
        self.deviation = ReciprocalDeviation(spec.spec, self.sums.o.payload.shape())
        self.affine = Affine(spec, lanes, self.words, self.deviation.o.payload.shape())

    @property
    def latency_cycles(self) -> int:
        """All parts, and the words of the second pass behind the first one."""
        parts = (self.sums, self.deviation, self.affine)
        return sum(part.latency_cycles for part in parts) + self.words - 1

    @property
    def interval_cycles(self) -> int:
        """One word per cycle."""
        return self.words

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n*words, lanes] of 16 bits -> int64[n*words, lanes]; one dimension if one lane."""
        tokens = to_rows(inputs, self.lanes, self.length).astype(np.int16)
        y, _ = self.spec.compute(tokens)
        unused = np.zeros((len(tokens), self.lanes), np.int64)
        return to_words(y.astype(np.int64), self.lanes, unused)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """Tokens of every deviation about every mean, of equal elements, outliers and extremes."""
        shape = (results, self.length)
        spread = np.exp2(rng.uniform(0, 16, (results, 1))).astype(np.int64)
        centre = rng.integers(-LARGEST, LARGEST, (results, 1))
        near = centre + rng.integers(-spread, spread, shape, endpoint=True)
        zero_mean = rng.integers(-spread, spread, shape, endpoint=True)
        extremes = rng.choice([-LARGEST, -LARGEST + 1, -1, 0, LARGEST - 1], shape)
        ends = rng.choice([-LARGEST, LARGEST - 1], shape)
        outlier = np.broadcast_to(centre, shape).copy()
        outlier[np.arange(results), rng.integers(0, self.length, results)] = extremes[:, 0]
        equal = np.broadcast_to(centre, shape)
        kinds = np.stack([near, zero_mean, outlier, extremes, ends, equal, zero_mean])
        tokens = kinds[np.arange(results) % len(kinds), np.arange(results)]
        fill = rng.integers(-LARGEST, LARGEST, (results, self.lanes))
        return to_words(np.clip(tokens, -LARGEST, LARGEST - 1), self.lanes, fill)

    def elaborate(self, platform: object) -> Module:
        """Return the two passes with the buffer between them."""
        m = Module()
        m.submodules.sums, m.submodules.deviation = sums, deviation = self.sums, self.deviation
        m.submodules.affine = affine = self.affine

        # pass 1: the sums, to which lanes that are not used give nothing
        m.submodules.tokens = tokens = RowBuffer(
            self.i.payload.shape(),
            deviation.o.payload.shape(),
            self.words,
            sums.latency_cycles + deviation.latency_cycles,
        )
        fork(m, self.i.valid, self.i.ready, [tokens.words, sums.i])
        ends = last_word(m, self.words, self.i.valid & self.i.ready)
        m.d.comb += tokens.words.payload.eq(self.i.payload)
        for k in range(self.lanes):
            x = self.i.payload[k]
            m.d.comb += sums.i.payload[k].eq(Mux(ends, 0, x) if k >= self.used else x)
        connect(m, sums.o, deviation.i)
        connect(m, deviation.o, tokens.known)

        # pass 2: every element
        connect(m, tokens.o, affine.i)
        m.d.comb += [
            self.o.payload.eq(affine.o.payload),
            self.o.valid.eq(affine.o.valid),
            affine.o.ready.eq(self.o.ready),
        ]
        return m
