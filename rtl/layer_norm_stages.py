# amaranth: UnusedElaboratable=no
"""What the layer normalisation knows of a token: sums, and the reciprocal of the deviation."""

import operator

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data

from hwq.numerics.isqrt import IsqrtSpec
from hwq.numerics.layer_norm import ROOT_BITS, LayerNormSpec
from hwq.rtl.divide import Divide
from hwq.rtl.isqrt import Isqrt
from hwq.rtl.pipeline import Pipeline, StreamUnit, holding
from hwq.rtl.rows import Reduce, RowBuffer, connect, fork

ELEMENT = signed(16)
LARGEST = 1 << 15
# half the leading bit's position: 0 .. 30, as the variance is below 2**61
PAIR = unsigned(5)
# floor(2**35 / root) of a root with its top bit set: up to 2**18
RECIPROCAL = unsigned(ROOT_BITS + 1)


class Sums(StreamUnit):
    """Sum and sum of squares of a token.

    Latency ceil(log2 lanes) + 3 cycles from the last word; one word per cycle.

    Ports: `i` an array of `lanes` elements, signed(16); `o` a structure of `total` and `squares`.

    A multiplier and two adders per lane.

    Parameters
    ----------
    dim, lanes, words : int
        Length of a token, elements per word, words per token.
    centered : bool
        Whether the sum is of the elements, or 0.
    """

    def __init__(self, dim: int, lanes: int, words: int, centered: bool) -> None:
        self.lanes, self.inputs_per_result, self.centered = lanes, words, centered
        # |x| <= 2**15 and x**2 <= 2**30
        total, squares = holding(dim * LARGEST), unsigned((dim * LARGEST**2).bit_length())
        self.square = unsigned((LARGEST**2).bit_length())
        self.total = Reduce(ELEMENT, total, lanes, words, operator.add)
        self.squares = Reduce(self.square, squares, lanes, words, operator.add)
        sums = data.StructLayout({"total": total, "squares": squares})
        super().__init__(data.ArrayLayout(ELEMENT, lanes), sums)

    @property
    def latency_cycles(self) -> int:
        """The square and the reduction."""
        return 1 + self.total.latency_cycles

    def elaborate(self, platform: object) -> Module:
        """Return the squares and both reductions, which run in step."""
        m = Module()
        m.submodules.total, m.submodules.squares = total, squares = self.total, self.squares
        ready = Signal()
        p = Pipeline(m, self.i.valid, ready, depth=1)
        m.d.comb += self.i.ready.eq(p.ready)
        fork(m, p.valid[0], ready, [total.i, squares.i])
        for k in range(self.lanes):
            x, square = Signal(ELEMENT, name=f"x_{k}"), Signal(self.square, name=f"square_{k}")
            with m.If(p.load[0]):
                m.d.sync += x.eq(self.i.payload[k])
                m.d.sync += square.eq(self.i.payload[k] * self.i.payload[k])
            m.d.comb += total.i.payload[k].eq(x if self.centered else 0)
            m.d.comb += squares.i.payload[k].eq(square)
        m.d.comb += [
            self.o.valid.eq(total.o.valid & squares.o.valid),
            total.o.ready.eq(self.o.ready & squares.o.valid),
            squares.o.ready.eq(self.o.ready & total.o.valid),
            self.o.p.total.eq(total.o.payload),
            self.o.p.squares.eq(squares.o.payload),
        ]
        return m


class ReciprocalDeviation(StreamUnit):
    """V = D*squares - total**2 + epsilon; reciprocal = floor(2**35 / floor(sqrt(V / 4**half))).

    half = pair - 17, with pair half the position of V's leading bit.

    Latency 41 cycles; one token per cycle.

    Ports: `i` the sums; `o` a structure of `total`, `pair`, unsigned(5), and `reciprocal`,
    unsigned(19).

    Two multipliers, a shifter, a root of 18 stages and a divider of 19.

    Parameters
    ----------
    spec : LayerNormSpec
        dim and epsilon.
    sums : data.StructLayout
        Shape of the sums.
    """

    def __init__(self, spec: LayerNormSpec, sums: data.StructLayout) -> None:
        self.spec = spec
        self.rest = data.StructLayout({"total": sums["total"].shape, "pair": PAIR})
        known = data.StructLayout({"rest": self.rest, "reciprocal": RECIPROCAL})
        self.root = Isqrt(IsqrtSpec(2 * ROOT_BITS))
        self.divide = Divide(2 * ROOT_BITS, ROOT_BITS, RECIPROCAL.width)
        super().__init__(sums, known)

    @property
    def latency_cycles(self) -> int:
        """Products, variance, leading bit, shift; root and quotient."""
        return 4 + self.root.latency_cycles + self.divide.latency_cycles

    def elaborate(self, platform: object) -> Module:
        """Return the four stages, the root, the division and what waits beside them."""
        m = Module()
        spec = self.spec
        ready = Signal()
        p = Pipeline(m, self.i.valid, ready, depth=4)
        m.d.comb += self.i.ready.eq(p.ready)
        totals = [Signal(self.rest["total"].shape, name=f"total_{k}") for k in range(4)]
        for k, before in enumerate([self.i.p.total, *totals[:-1]]):
            with m.If(p.load[k]):
                m.d.sync += totals[k].eq(before)

        # stages 1 and 2: the variance; D*squares <= (D * 2**15)**2, and total**2 is not larger
        bound = (spec.dim * LARGEST) ** 2
        product, square = Signal(range(bound + 1)), Signal(range(bound + 1))
        variance_2, variance_3 = (Signal(range(bound + spec.epsilon + 1)) for _ in range(2))
        with m.If(p.load[0]):
            m.d.sync += product.eq(spec.dim * self.i.p.squares)
            m.d.sync += square.eq(self.i.p.total * self.i.p.total)
        with m.If(p.load[1]):
            m.d.sync += variance_2.eq(product - square + spec.epsilon)

        # stage 3: the leading bit; epsilon is at least 1, so there is one
        lead = Signal(PAIR)
        for k in range(len(variance_2)):
            with m.If(variance_2[k]):
                m.d.comb += lead.eq(k // 2)
        pair_3, pair_4 = Signal(PAIR), Signal(PAIR)
        with m.If(p.load[2]):
            m.d.sync += [pair_3.eq(lead), variance_3.eq(variance_2)]

        # stage 4: a mantissa of 35 or 36 bits, by an even shift: all left, then right
        most = max((len(variance_3) - 1) // 2, ROOT_BITS - 1)
        left = (most - pair_3)[: PAIR.width]
        mantissa = Signal(2 * ROOT_BITS)
        with m.If(p.load[3]):
            m.d.sync += [
                mantissa.eq((variance_3 << (left << 1)) >> (2 * (most - ROOT_BITS + 1))),
                pair_4.eq(pair_3),
            ]

        # root, then division; total and pair wait for both
        m.submodules.root, m.submodules.divide = root, divide = self.root, self.divide
        waiting = root.latency_cycles + divide.latency_cycles
        m.submodules.rest = rest = RowBuffer(self.rest, RECIPROCAL, words=1, latency=waiting)
        fork(m, p.valid[3], ready, [root.i, rest.words])
        connect(m, divide.o, rest.known)
        m.d.comb += [
            root.i.payload.eq(mantissa),
            rest.words.p.total.eq(totals[3]),
            rest.words.p.pair.eq(pair_4),
            divide.i.valid.eq(root.o.valid),
            root.o.ready.eq(divide.i.ready),
            divide.i.p.dividend.eq(1 << (2 * ROOT_BITS - 1)),
            divide.i.p.divisor.eq(root.o.payload),
            self.o.valid.eq(rest.o.valid),
            rest.o.ready.eq(self.o.ready),
            self.o.p.rest.eq(rest.o.p.word),
            self.o.p.reciprocal.eq(rest.o.p.known),
        ]
        return m
