# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.layer_norm."""

import numpy as np
from amaranth.hdl import Module, Shape
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.layer_norm import MAX_DIM, MAX_EPSILON, LayerNormSpec
from hwq.numerics.layer_norm import LayerNorm as NormSpec
from hwq.rtl.affine import PARAMETERS, Affine, parameter_port
from hwq.rtl.layer_norm_stages import (
    ELEMENT,
    LARGEST,
    ReciprocalDeviation,
    Sums,
    settings_layout,
)
from hwq.rtl.pipeline import StreamUnit, settled
from hwq.rtl.rows import KNOWN_CYCLES, RowBuffer, connect, fork, mark, row_word, to_rows, to_words


class LayerNormCore(StreamUnit):
    """Layer normalisation of tokens: y = (x - mean) / sqrt(variance + eps) * gamma + beta.

    Exact sum and sum of squares; an 18-bit root and the reciprocal of it; rounded half up to 16
    fraction bits, and after gamma and beta to the format of y, which saturates. Without
    centering the mean is 0 (RMSNorm).

    Two passes of words = ceil(dim / lanes) cycles each: the sums; normalisation. The passes of
    successive tokens overlap.

    Latency words + ceil(log2 lanes) + 58 cycles, from a token's last word to its last result; a
    token every `words` cycles.

    Ports: `i` words of rows (`hwq.rtl.rows.row_word`), signed(16); `o` an array of `lanes` elements
    of shape `out`; `settings` (`layer_norm_stages.settings_layout`); `parameters`, a read port of
    the memory of gamma and beta (`affine.parameter_port`). Lanes that are not kept leave with what
    their parameters make of them: 0 where those are 0.

    A memory of words + ceil(log2 lanes) + 49 words, words being those of the longest token; per
    lane four multipliers (square, D*x, normalisation, gamma) and two shifters; one root of 18
    stages and one divider of 19.

    Parameters
    ----------
    max_dim : int in 1..8192
        Length of the longest token.
    lanes : int
        Elements per word.
    out : Shape
        Shape of an element of `o`, which holds all formats.
    max_epsilon : int
        Largest epsilon.
    """

    def __init__(
        self, max_dim: int, lanes: int, out: Shape, max_epsilon: int = MAX_EPSILON
    ) -> None:
        require(1 <= max_dim <= MAX_DIM, f"max_dim must be in 1..{MAX_DIM}, not {max_dim}")
        require(lanes >= 1, f"lanes must be at least 1, not {lanes}")
        self.max_dim, self.lanes, self.out, self.max_epsilon = max_dim, lanes, out, max_epsilon
        self.words = -(-max_dim // lanes)
        settings = settings_layout(max_dim, max_epsilon, out)
        ports = {
            "settings": In(settings),
            "parameters": Out(parameter_port(lanes, self.words)),
        }
        super().__init__(row_word(ELEMENT, lanes), data.ArrayLayout(out, lanes), ports)
        self.sums = Sums(max_dim, lanes)
        self.deviation = ReciprocalDeviation(self.sums.o.payload.shape(), max_dim, max_epsilon)
        known = self.deviation.o.payload.shape()
        self.affine = Affine(settings, known, lanes, self.words, max_dim)

    @property
    def latency_cycles(self) -> int:
        """All parts, and buffer and words of the longest token for the second pass."""
        parts = (self.sums, self.deviation, self.affine)
        return sum(part.latency_cycles for part in parts) + KNOWN_CYCLES + self.words - 1

    def settings_of(self, spec: LayerNormSpec) -> dict[str, int]:
        """Return the settings of a layer; `SpecError` for one that does not fit the core."""
        return settled(
            self.settings.shape(),
            dim=spec.dim,
            epsilon=spec.epsilon,
            centered=int(spec.centered),
            shift=spec.shift,
            lo=spec.out.min,
            hi=spec.out.max,
        )

    def elaborate(self, platform: object) -> Module:
        """Return the two passes with the buffer between them."""
        m = Module()
        m.submodules.sums, m.submodules.deviation = sums, deviation = self.sums, self.deviation
        m.submodules.affine = affine = self.affine
        settings = self.settings

        # pass 1: the sums, to which lanes that are not kept give nothing
        m.submodules.tokens = tokens = RowBuffer(
            self.i.p.elements.shape(),
            deviation.o.payload.shape(),
            self.words,
            sums.latency_cycles + deviation.latency_cycles,
        )
        fork(m, self.i.valid, self.i.ready, [tokens.words, sums.i])
        m.d.comb += [
            tokens.words.p.word.eq(self.i.p.elements),
            tokens.words.p.last.eq(self.i.p.last),
            sums.i.payload.eq(self.i.payload),
            sums.centered.eq(settings.centered),
            deviation.dim.eq(settings.dim),
            deviation.epsilon.eq(settings.epsilon),
            affine.settings.eq(settings),
        ]
        connect(m, sums.o, deviation.i)
        connect(m, deviation.o, tokens.known)

        # pass 2: every element
        connect(m, tokens.o, affine.i)
        wiring.connect(m, affine.o, wiring.flipped(self.o))
        wiring.connect(m, affine.parameters, wiring.flipped(self.parameters))
        return m


class LayerNorm(StreamUnit):
    """Layer normalisation of one layer, which `LayerNormCore` computes.

    Ports: `i` an array of `lanes` elements, signed(16); `o` an array of `lanes` elements in the
    format `spec.out`. A token's last word uses its first lanes; the rest of it is ignored, and
    leaves as 0.

    The core, and a memory of `words` words of gamma and beta.

    Parameters
    ----------
    spec : hwq.numerics.layer_norm.LayerNorm
        Formats, gamma and beta.
    lanes : int
        Elements per word.
    """

    def __init__(self, spec: NormSpec, lanes: int) -> None:
        self.spec, self.length, self.lanes = spec, spec.spec.dim, lanes
        out = Shape(spec.spec.out.bits, spec.spec.out.signed)
        self.core = LayerNormCore(self.length, lanes, out, spec.spec.epsilon)
        self.inputs_per_result = self.outputs_per_result = self.core.words
        super().__init__(data.ArrayLayout(ELEMENT, lanes), self.core.o.payload.shape())

    @property
    def latency_cycles(self) -> int:
        """That of the core for its longest token."""
        return self.core.latency_cycles

    @property
    def interval_cycles(self) -> int:
        """One word per cycle."""
        return self.inputs_per_result

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
        """Return the core with its settings and parameters, and its words marked."""
        m = Module()
        m.submodules.core = core = self.core
        m.submodules.parameters = parameters = parameter_memory(self.spec, self.lanes)
        read, settings = parameters.read_port(), core.settings_of(self.spec.spec)
        mark(m, core.i, self.i, self.length)
        m.d.comb += [
            *(core.settings[name].eq(value) for name, value in settings.items()),
            read.addr.eq(core.parameters.address),
            read.en.eq(core.parameters.enable),
            core.parameters.data.eq(read.data),
        ]
        wiring.connect(m, core.o, wiring.flipped(self.o))
        return m


def parameter_memory(norm: NormSpec, lanes: int) -> Memory:
    """Return the memory of a layer's gamma and beta; lanes that are not used have 0."""
    words = -(-norm.spec.dim // lanes)
    gamma, beta = (
        np.pad(values.astype(object), (0, words * lanes - norm.spec.dim)).reshape(words, lanes)
        for values in (norm.gamma, norm.beta)
    )
    return Memory(
        shape=data.ArrayLayout(PARAMETERS, lanes),
        depth=max(words, 2),
        init=[
            [{"gamma": g, "beta": b} for g, b in zip(*row, strict=True)]
            for row in zip(gamma.tolist(), beta.tolist(), strict=True)
        ],
    )
