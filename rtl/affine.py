# amaranth: UnusedElaboratable=no
"""Second pass of the layer normalisation: centre, scale, and the affine map of each channel."""

from math import isqrt

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.layer_norm import MAX_BETA, MAX_GAMMA, MAX_GAMMA_SHIFT, NORM_FRAC
from hwq.rtl.layer_norm_stages import ELEMENT, LARGEST, PAIR, RECIPROCAL
from hwq.rtl.pipeline import Pipeline, StreamUnit, holding, within
from hwq.rtl.wide import carried, part_products, register, shifted_far, shifted_near, total

STAGES = 11
PARAMETERS = data.StructLayout({"gamma": holding(MAX_GAMMA), "beta": holding(MAX_BETA)})
"""What a channel has of its own."""
OFFSET = holding(MAX_BETA + (1 << (NORM_FRAC + MAX_GAMMA_SHIFT)) // 2)


class AffineLane(wiring.Component):
    """One element: y = min(max((n*gamma + offset) >> shift, lo), hi).

    Eleven registers, which take their values whenever `load` says so. `x` belongs to the first,
    `total` to the second, `reciprocal` to the third, `pair` to the fifth, `gamma` to the seventh,
    `offset` to the eighth; `settings` are those of the layer.

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
        """Return the eleven stages."""
        m = Module()
        settings, load, most = self.settings, self.load, self.max_dim

        # stages 1 and 2: D times the distance from the mean, at most the D - 1 widest differences,
        # or from zero. Lanes beyond the token may overflow from here on, and mean nothing
        times = register(m, load[0], settings.dim * self.x, "times")
        bounds = holding(max((most - 1) * 0xFFFF, most * LARGEST))
        centred = register(m, load[1], times - self.total, "centred", bounds)

        # stages 3 to 6: times the reciprocal, rounded half up. |n| <= sqrt(D) * 2**16 + 1/2
        # (no element is farther than sqrt(D - 1) deviations, and the root is short by 2**-17)
        norm_limit = (isqrt(most) + 1) << NORM_FRAC
        products = part_products(m, load[2], centred, self.reciprocal, "product")
        shape = (centred * self.reciprocal).shape()
        product = register(m, load[3], total(products), "product", shape)
        far = register(m, load[4], shifted_far(product >> 1, self.pair), "far")
        near = register(m, load[4], self.pair, "pair_near")
        twice = Signal(holding(2 * norm_limit))
        m.d.comb += twice.eq(shifted_near(far, near))
        norm = register(m, load[5], (twice + 1) >> 1, "norm", holding(norm_limit))

        # stages 7 and 8: times gamma, plus beta; exact
        scaled = part_products(m, load[6], norm, self.gamma, "scaled")
        shape = (norm * self.gamma + self.offset).shape()
        wide = register(m, load[7], total([*scaled, (0, self.offset)]), "wide", shape)

        # stages 9 to 11: the last shift, and the ends of the format
        far = register(m, load[8], shifted_far(wide, settings.shift), "wide_far")
        value = register(m, load[9], shifted_near(far, settings.shift), "value")
        with m.If(load[10]):
            m.d.sync += self.y.eq(within(value, settings.lo, settings.hi))
        return m


class Affine(StreamUnit):
    """y = saturate((n*gamma + beta + half) >> shift), n = round((D*x - total)*reciprocal / 2**k).

    k = pair + 2, half = 2**(shift - 1); round is half up.

    Latency 11 cycles; one word per cycle. Products and shifts take two each, and what is read from
    the memory of parameters goes through a register, as it comes late in a cycle.

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
        """Centre, scale, shift and round: 2 each; times gamma, plus beta; shift in 2, saturate."""
        return STAGES

    def elaborate(self, platform: object) -> Module:
        """Return the lanes, and the addresses of their parameters."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        known, settings, port = self.i.p.known, self.settings, self.parameters

        # what a token's words share
        total = carried(m, p.load[:1], known.rest.total, "total")
        reciprocal = carried(m, p.load[:2], known.reciprocal, "reciprocal")
        pair = carried(m, p.load[:4], known.rest.pair, "pair")

        # gamma and beta are read into stage 5, are in registers in stage 6, and beta gets the
        # rounding constant in stage 7
        last = carried(m, p.load[:4], self.i.p.last, "last")
        m.d.comb += port.enable.eq(p.load[4])
        with m.If(p.load[4] & p.valid[3]):
            m.d.sync += port.address.eq(Mux(last, 0, port.address + 1))
        half = Signal(range((1 << (NORM_FRAC + MAX_GAMMA_SHIFT)) // 2 + 1))
        m.d.sync += half.eq((1 << settings.shift) >> 1)
        for k in range(self.lanes):
            lane = AffineLane(settings.shape(), total.shape(), self.max_dim)
            m.submodules[f"lane_{k}"] = lane
            gamma = register(m, p.load[5], port.data[k].gamma, f"gamma_{k}")
            beta = register(m, p.load[5], port.data[k].beta, f"beta_{k}")
            offset = register(m, p.load[6], beta + half, f"offset_{k}", OFFSET)
            m.d.comb += [load.eq(p.load[n]) for n, load in enumerate(lane.load)]
            m.d.comb += [
                lane.settings.eq(settings),
                lane.x.eq(self.i.p.word[k]),
                lane.total.eq(total),
                lane.reciprocal.eq(reciprocal),
                lane.pair.eq(pair),
                lane.gamma.eq(gamma),
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
