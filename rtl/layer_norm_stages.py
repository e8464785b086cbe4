# amaranth: UnusedElaboratable=no
"""What the layer normalisation knows of a token: sums, and the reciprocal of the deviation."""

import operator

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In

from hwq.numerics.isqrt import IsqrtSpec
from hwq.numerics.layer_norm import MAX_GAMMA_SHIFT, ROOT_BITS
from hwq.rtl.divide import Divide
from hwq.rtl.isqrt import Isqrt
from hwq.rtl.pipeline import Pipeline, StreamUnit, holding
from hwq.rtl.rows import KNOWN_CYCLES, Reduce, RowBuffer, Spare, connect, fork, row_word
from hwq.rtl.wide import NEAR_BITS, carried, leading, part_products, register, total

ELEMENT = signed(16)
DEVIATION_STAGES = 6
LARGEST = 1 << 15
# half the leading bit's position: 0 .. 30, as the variance is below 2**61
PAIR = unsigned(5)
# floor(2**35 / root) of a root with its top bit set: up to 2**18
RECIPROCAL = unsigned(ROOT_BITS + 1)


def settings_layout(max_dim: int, max_epsilon: int, out: Shape) -> data.StructLayout:
    """Return what a layer is made of, as `hwq.numerics.layer_norm.LayerNormSpec` has it.

    dim; epsilon; centered; shift, the last right shift; lo and hi, the ends of y.
    """
    return data.StructLayout(
        {
            "dim": range(max_dim + 1),
            "epsilon": range(max_epsilon + 1),
            "centered": 1,
            "shift": range(MAX_GAMMA_SHIFT + 1),
            "lo": out,
            "hi": out,
        }
    )


class Sums(StreamUnit):
    """Sum and sum of squares of a token.

    Latency ceil(log2 lanes) + 3 cycles from the last word; one word per cycle.

    Ports: `i` words of rows (`hwq.rtl.rows.row_word`), signed(16); `o` a structure of `total` and
    `squares`; `centered` whether the sum is of the elements, or 0.

    A multiplier and two adders per lane.

    Parameters
    ----------
    max_dim, lanes : int
        Length of the longest token, elements per word.
    """

    def __init__(self, max_dim: int, lanes: int) -> None:
        self.lanes = lanes
        # |x| <= 2**15 and x**2 <= 2**30
        total, squares = holding(max_dim * LARGEST), unsigned((max_dim * LARGEST**2).bit_length())
        self.square = unsigned((LARGEST**2).bit_length())
        self.total = Reduce(ELEMENT, total, lanes, operator.add)
        self.squares = Reduce(self.square, squares, lanes, operator.add)
        sums = data.StructLayout({"total": total, "squares": squares})
        super().__init__(row_word(ELEMENT, lanes), sums, {"centered": In(1)})

    @property
    def latency_cycles(self) -> int:
        """The square and the reduction."""
        return 1 + self.total.latency_cycles

    def elaborate(self, platform: object) -> Module:
        """Return the squares and both reductions, which run in step."""
        m = Module()
        m.submodules.total, m.submodules.squares = total, squares = self.total, self.squares
        ready, last = Signal(), Signal()
        p = Pipeline(m, self.i.valid, ready, depth=1)
        m.d.comb += self.i.ready.eq(p.ready)
        fork(m, p.valid[0], ready, [total.i, squares.i])
        with m.If(p.load[0]):
            m.d.sync += last.eq(self.i.p.last)
        m.d.comb += [total.i.p.last.eq(last), squares.i.p.last.eq(last)]
        keep = register(m, p.load[0], self.i.p.keep, "keep")
        for k, element in enumerate(self.i.p.elements):
            x = register(m, p.load[0], element, f"x_{k}")
            square = register(m, p.load[0], element * element, f"square_{k}", self.square)
            m.d.comb += total.i.p.elements[k].eq(Mux(keep[k] & self.centered, x, 0))
            m.d.comb += squares.i.p.elements[k].eq(Mux(keep[k], square, 0))
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

    Latency 44 cycles; one token per cycle.

    Ports: `i` the sums; `o` a structure of `total`, `pair`, unsigned(5), and `reciprocal`,
    unsigned(19); `dim` and `epsilon`.

    Two multipliers, a shifter, a root of 18 stages and a divider of 19.

    Parameters
    ----------
    sums : data.StructLayout
        Shape of the sums.
    max_dim, max_epsilon : int
        Largest dim and epsilon.
    """

    def __init__(self, sums: data.StructLayout, max_dim: int, max_epsilon: int) -> None:
        self.max_dim, self.max_epsilon = max_dim, max_epsilon
        self.rest = data.StructLayout({"total": sums["total"].shape, "pair": PAIR})
        known = data.StructLayout({"rest": self.rest, "reciprocal": RECIPROCAL})
        self.root = Isqrt(IsqrtSpec(2 * ROOT_BITS))
        self.divide = Divide(2 * ROOT_BITS, ROOT_BITS, RECIPROCAL.width)
        ports = {"dim": In(range(max_dim + 1)), "epsilon": In(range(max_epsilon + 1))}
        super().__init__(sums, known, ports)

    @property
    def latency_cycles(self) -> int:
        """Products in 2, variance, leading bit, shift in 2; root, quotient, what waited."""
        parts = self.root.latency_cycles + self.divide.latency_cycles
        return DEVIATION_STAGES + parts + KNOWN_CYCLES

    def elaborate(self, platform: object) -> Module:
        """Return the six stages, the root, the division and what waits beside them."""
        m = Module()
        normalised = data.StructLayout({"mantissa": unsigned(2 * ROOT_BITS), "rest": self.rest})
        m.submodules.spare = spare = Spare(normalised)
        p = Pipeline(m, self.i.valid, spare.i.ready, DEVIATION_STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), spare.i.valid.eq(p.valid[-1])]
        sums, load = self.i.p, p.load

        # stages 1 to 3: the variance; D*squares <= (D * 2**15)**2, and total**2 is not larger
        bound = Shape.cast(range((self.max_dim * LARGEST) ** 2 + 1))
        products = part_products(m, load[0], self.dim, sums.squares, "product")
        product = register(m, load[1], total(products), "product", bound)
        squares = part_products(m, load[0], sums.total, sums.total, "square")
        square = register(m, load[1], total(squares), "square", bound)
        shape = Shape.cast(range((self.max_dim * LARGEST) ** 2 + self.max_epsilon + 1))
        variance = register(m, load[2], product - square + self.epsilon, "variance", shape)

        # stage 4: the leading bit, of pairs; epsilon is at least 1, so there is one
        pairs = Cat(*(variance[k : k + 2].any() for k in range(0, len(variance), 2)))
        pair = register(m, load[3], leading(pairs), "pair", PAIR)
        variance = register(m, load[3], variance, "variance_4")

        # stages 5 and 6: a mantissa of 35 or 36 bits, by an even shift: all left, then right
        most = max((len(variance) - 1) // 2, ROOT_BITS - 1)
        left = (most - pair)[: PAIR.width]
        far = register(
            m, load[4], variance << Cat(Const(0, NEAR_BITS), left[NEAR_BITS - 1 :]), "far"
        )
        near = register(m, load[4], left[: NEAR_BITS - 1], "left")
        whole = (far << Cat(Const(0, 1), near)) >> (2 * (most - ROOT_BITS + 1))
        mantissa = register(m, load[5], whole, "mantissa", unsigned(2 * ROOT_BITS))

        # root, then division; total and pair wait for both
        m.submodules.root, m.submodules.divide = root, divide = self.root, self.divide
        waiting = root.latency_cycles + divide.latency_cycles
        m.submodules.rest = rest = RowBuffer(self.rest, RECIPROCAL, words=1, latency=waiting)
        fork(m, spare.o.valid, spare.o.ready, [root.i, rest.words])
        connect(m, divide.o, rest.known)
        m.submodules.between = between = Spare(root.o.payload.shape())
        connect(m, root.o, between.i)
        m.d.comb += [
            spare.i.p.mantissa.eq(mantissa),
            spare.i.p.rest.total.eq(carried(m, load, sums.total, "total")),
            spare.i.p.rest.pair.eq(carried(m, load[4:], pair, "pair")),
            root.i.payload.eq(spare.o.p.mantissa),
            rest.words.p.word.eq(spare.o.p.rest),
            rest.words.p.last.eq(1),
            divide.i.valid.eq(between.o.valid),
            between.o.ready.eq(divide.i.ready),
            divide.i.p.dividend.eq(1 << (2 * ROOT_BITS - 1)),
            divide.i.p.divisor.eq(between.o.payload),
            self.o.valid.eq(rest.o.valid),
            rest.o.ready.eq(self.o.ready),
            self.o.p.rest.eq(rest.o.p.word),
            self.o.p.reciprocal.eq(rest.o.p.known),
        ]
        return m
