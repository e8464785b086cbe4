# amaranth: UnusedElaboratable=no
"""Second pass of the layer normalisation: centre, scale, and the affine map of each channel."""

from math import isqrt

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.layer_norm import MAX_BETA, MAX_GAMMA, MAX_GAMMA_SHIFT, NORM_FRAC
from hwq.rtl.layer_norm_stages import ELEMENT, LARGEST, PAIR, RECIPROCAL
from hwq.rtl.pipeline import Pipeline, StreamUnit, holding, within

STAGES = 7
PARAMETERS = data.StructLayout({"gamma": holding(MAX_GAMMA), "beta": holding(MAX_BETA)})
"""What a channel has of its own."""
OFFSET = holding(MAX_BETA + (1 << (NORM_FRAC + MAX_GAMMA_SHIFT)) // 2)


class AffineLane(wiring.Component):
    """One element: y = min(max((n*gamma + offset) >> shift, lo), hi).

    Seven registers, which take their values whenever `load` says so. `x` and `total` belong to
    the first, `reciprocal` to the second, `pair` to the third, `gamma` to the fifth, `offset` to
    the sixth; `settings` are those of the layer.

    Parameters
    ----------
    settings : data.StructLayout
        Shape of the settings.
    total : Shape
        Shape of a token's sum.
    max_dim : int
        Length of the longest token.
    """

    def __init__(self, settings: data.StructLayout, total: Shape, max_dim: int) -> None:
        self.max_dim = max_dim
        ports = {
            "settings": In(settings),
            "load": In(STAGES),
            "x": In(ELEMENT),
            "total": In(total),
            "reciprocal": In(RECIPROCAL),
            "pair": In(PAIR),
            "gamma": In(PARAMETERS["gamma"].shape),
            "offset": In(OFFSET),
            "y": Out(settings["hi"].shape),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Return the seven stages."""
        m = Module()
        settings, most = self.settings, self.max_dim

        # stage 1: D times the distance from the mean, at most the D - 1 widest differences, or from
        # zero. Lanes beyond the token may overflow from here on, and mean nothing
        centred = Signal(holding(max((most - 1) * 0xFFFF, most * LARGEST)))
        with m.If(self.load[0]):
            m.d.sync += centred.eq(settings.dim * self.x - self.total)

        # stages 2 .. 4: times the reciprocal, rounded half up. |n| <= sqrt(D) * 2**16 + 1/2
        # (no element is farther than sqrt(D - 1) deviations, and the root is short by 2**-17)
        norm_limit = (isqrt(most) + 1) << NORM_FRAC
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
        value = Signal(wide.shape())
        m.d.comb += value.eq(wide >> settings.shift)
        with m.If(self.load[6]):
            m.d.sync += self.y.eq(within(value, settings.lo, settings.hi))
        return m


class Affine(StreamUnit):
    """y = saturate((n*gamma + beta + half) >> shift), n = round((D*x - total)*reciprocal / 2**k).

    k = pair + 2, half = 2**(shift - 1); round is half up.

    Latency 7 cycles; one word per cycle.

    Ports: `i` a structure of `word`, the elements, `known`, what `ReciprocalDeviation` sent, and
    `last`; `o` an array of elements; `settings`; `parameters`, a read port of the memory of a
    layer's gamma and beta: `address` and `enable` of a word, `data` in the next cycle.

    Per lane a multiplication by D, two multipliers and two shifters.

    Parameters
    ----------
    settings, known : data.StructLayout
        Shapes of a layer's settings, and of what is known of a token.
    lanes, words : int
        Elements per word, words of the longest token.
    max_dim : int
        Length of the longest token.
    """

    def __init__(
        self,
        settings: data.StructLayout,
        known: data.StructLayout,
        lanes: int,
        words: int,
        max_dim: int,
    ) -> None:
        self.lanes, self.max_dim = lanes, max_dim
        word = {"word": data.ArrayLayout(ELEMENT, lanes), "known": known, "last": 1}
        ports = {
            "settings": In(settings),
            "parameters": Out(parameter_port(lanes, words)),
        }
        element = settings["hi"].shape
        super().__init__(data.StructLayout(word), data.ArrayLayout(element, lanes), ports)

    @property
    def latency_cycles(self) -> int:
        """Centre, scale, shift, round; times gamma, plus beta, saturate."""
        return STAGES

    def elaborate(self, platform: object) -> Module:
        """Return the lanes, and the addresses of their parameters."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        known, settings, port = self.i.p.known, self.settings, self.parameters

        # what a token's words share, beside stages 1 and 2
        reciprocal, pair_1, pair_2 = Signal(RECIPROCAL), Signal(PAIR), Signal(PAIR)
        with m.If(p.load[0]):
            m.d.sync += [reciprocal.eq(known.reciprocal), pair_1.eq(known.rest.pair)]
        with m.If(p.load[1]):
            m.d.sync += pair_2.eq(pair_1)

        # gamma and beta are read into stage 4; beta gets the rounding constant in stage 5
        last: Value = self.i.p.last
        for stage in range(3):
            last_before, last = last, Signal(name=f"last_{stage + 1}")
            with m.If(p.load[stage]):
                m.d.sync += last.eq(last_before)
        m.d.comb += port.enable.eq(p.load[3])
        with m.If(p.load[3] & p.valid[2]):
            m.d.sync += port.address.eq(Mux(last, 0, port.address + 1))
        half = Signal(range((1 << (NORM_FRAC + MAX_GAMMA_SHIFT)) // 2 + 1))
        m.d.comb += half.eq((1 << settings.shift) >> 1)
        total = known.rest.total
        for k in range(self.lanes):
            lane = AffineLane(settings.shape(), total.shape(), self.max_dim)
            m.submodules[f"lane_{k}"] = lane
            offset = Signal(OFFSET, name=f"offset_{k}")
            with m.If(p.load[4]):
                m.d.sync += offset.eq(port.data[k].beta + half)
            m.d.comb += [load.eq(p.load[n]) for n, load in enumerate(lane.load)]
            m.d.comb += [
                lane.settings.eq(settings),
                lane.x.eq(self.i.p.word[k]),
                lane.total.eq(total),
                lane.reciprocal.eq(reciprocal),
                lane.pair.eq(pair_2),
                lane.gamma.eq(port.data[k].gamma),
                lane.offset.eq(offset),
                self.o.payload[k].eq(lane.y),
            ]
        return m


def parameter_port(lanes: int, words: int) -> wiring.Signature:
    """Return the signature of a read of parameters, as the reader sees it."""
    return wiring.Signature(
        {
            "address": Out(range(max(words, 2))),
            "enable": Out(1),
            "data": In(data.ArrayLayout(PARAMETERS, lanes)),
        }
    )
