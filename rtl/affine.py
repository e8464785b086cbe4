"""Second pass of the layer normalisation: centre, scale, and the affine map of each channel."""

from math import isqrt

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwq.numerics.layer_norm import MAX_GAMMA, NORM_FRAC, LayerNorm, LayerNormSpec
from hwq.rtl.layer_norm_stages import ELEMENT, PAIR, RECIPROCAL
from hwq.rtl.pipeline import Pipeline, StreamUnit, holding, saturated

STAGES = 7
GAMMA = holding(MAX_GAMMA)


class AffineLane(wiring.Component):
    """One element: y = saturate((n*gamma + offset) >> shift).

    Seven registers, which take their values whenever `load` says so. `x` and `total` belong to
    the first, `reciprocal` to the second, `pair` to the third, `gamma` to the fifth, `offset` to
    the sixth.

    Parameters
    ----------
    spec : LayerNormSpec
        Formats.
    total, offset : Shape
        Shapes of a token's sum, and of beta with the rounding constant.
    """

    def __init__(self, spec: LayerNormSpec, total: Shape, offset: Shape) -> None:
        self.spec = spec
        ports = {
            "load": In(STAGES),
            "x": In(ELEMENT),
            "total": In(total),
            "reciprocal": In(RECIPROCAL),
            "pair": In(PAIR),
            "gamma": In(GAMMA),
            "offset": In(offset),
            "y": Out(Shape(spec.out.bits, spec.out.signed)),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Return the seven stages."""
        m = Module()
        dim = self.spec.dim

        # stage 1: D times the distance from the mean, at most the D - 1 widest differences.
        # Lanes beyond the token may overflow from here on; their gamma and offset are zero
        centred = Signal(holding((dim - 1) * 0xFFFF))
        with m.If(self.load[0]):
            m.d.sync += centred.eq(dim * self.x - self.total)

        # stages 2 .. 4: times the reciprocal, rounded half up. |n| <= sqrt(D) * 2**16 + 1/2
        # (no element is farther than sqrt(D - 1) deviations, and the root is short by 2**-17)
        norm_limit = (isqrt(dim) + 1) << NORM_FRAC
        product = Signal((centred * self.reciprocal).shape())
        twice, norm = Signal(holding(2 * norm_limit)), Signal(holding(norm_limit))
        with m.If(self.load[1]):
            m.d.sync += product.eq(centred * self.reciprocal)
        with m.If(self.load[2]):
            m.d.sync += twice.eq((product >> self.pair) >> 1)
        with m.If(self.load[3]):
            m.d.sync += norm.eq((twice + 1) >> 1)

        # stages 5 and 6: times gamma, plus beta; exact
        scaled = Signal((norm * self.gamma).shape())
        wide = Signal((scaled + self.offset).shape())
        with m.If(self.load[4]):
            m.d.sync += scaled.eq(norm * self.gamma)
        with m.If(self.load[5]):
            m.d.sync += wide.eq(scaled + self.offset)

        # stage 7: the last shift, and the ends of the format
        value = Signal((wide >> self.spec.shift).shape())
        m.d.comb += value.eq(wide >> self.spec.shift)
        with m.If(self.load[6]):
            m.d.sync += self.y.eq(saturated(value, self.y.shape()))
        return m


class Affine(StreamUnit):
    """y = saturate((n*gamma + beta + half) >> shift), n = round((D*x - total)*reciprocal / 2**k).

    k = pair + 2, half = 2**(shift - 1); round is half up.

    Latency 7 cycles; one word per cycle.

    Ports: `i` a structure of `word`, the elements, `known`, what `ReciprocalDeviation` sent, and
    `last`; `o` an array of elements in the format `out`.

    Per lane a multiplication by D, two multipliers and a shifter; memories of gamma and beta.

    Parameters
    ----------
    norm : LayerNorm
        Formats, gamma and beta.
    lanes, words : int
        Elements per word, words per token.
    known : data.StructLayout
        Shape of what is known of a token.
    """

    def __init__(self, norm: LayerNorm, lanes: int, words: int, known: data.StructLayout) -> None:
        self.norm, self.lanes, self.words = norm, lanes, words
        out = norm.spec.out
        word = {"word": data.ArrayLayout(ELEMENT, lanes), "known": known, "last": 1}
        element = Shape(out.bits, out.signed)
        super().__init__(data.StructLayout(word), data.ArrayLayout(element, lanes))

    @property
    def latency_cycles(self) -> int:
        """Centre, scale, shift, round; times gamma, plus beta, saturate."""
        return STAGES

    def _memory(self, channels: list[int], shape: Shape) -> Memory:
        """Return a memory of one word per word of a token; unused lanes are zero."""
        padded = channels + [0] * (self.words * self.lanes - len(channels))
        words = [padded[k : k + self.lanes] for k in range(0, len(padded), self.lanes)]
        layout = data.ArrayLayout(shape, self.lanes)
        return Memory(shape=layout, depth=max(self.words, 2), init=words)

    def elaborate(self, platform: object) -> Module:
        """Return the memories and the lanes."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        norm, known = self.norm, self.i.p.known

        # what a token's words share, beside stages 1 and 2
        reciprocal, pair_1, pair_2 = Signal(RECIPROCAL), Signal(PAIR), Signal(PAIR)
        with m.If(p.load[0]):
            m.d.sync += [reciprocal.eq(known.reciprocal), pair_1.eq(known.rest.pair)]
        with m.If(p.load[1]):
            m.d.sync += pair_2.eq(pair_1)

        # gamma is read into stage 4 and beta, with the rounding constant, into stage 5
        offsets = norm.beta + ((1 << norm.spec.shift) >> 1)
        offset_shape = holding(int(abs(offsets).max()))
        m.submodules.gammas = gammas = self._memory(norm.gamma.tolist(), GAMMA)
        m.submodules.offsets = offset_memory = self._memory(offsets.tolist(), offset_shape)
        gamma, offset = gammas.read_port(), offset_memory.read_port()
        word, word_4 = Signal.like(gamma.addr), Signal.like(gamma.addr)
        with m.If(p.load[3] & p.valid[2]):
            m.d.sync += [word.eq(Mux(word == self.words - 1, 0, word + 1)), word_4.eq(word)]
        m.d.comb += [
            gamma.addr.eq(word),
            gamma.en.eq(p.load[3]),
            offset.addr.eq(word_4),
            offset.en.eq(p.load[4]),
        ]
        total = known.rest.total
        for k in range(self.lanes):
            lane = AffineLane(norm.spec, total.shape(), offset_shape)
            m.submodules[f"lane_{k}"] = lane
            m.d.comb += [load.eq(p.load[n]) for n, load in enumerate(lane.load)]
            m.d.comb += [
                lane.x.eq(self.i.p.word[k]),
                lane.total.eq(total),
                lane.reciprocal.eq(reciprocal),
                lane.pair.eq(pair_2),
                lane.gamma.eq(gamma.data[k]),
                lane.offset.eq(offset.data[k]),
                self.o.payload[k].eq(lane.y),
            ]
        return m
