"""The stages of the softmax: powers of two, the reciprocal of their sum, and the scaling."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.exp2 import ACC_FRAC, COEFFICIENTS
from hwq.numerics.softmax import DIVISOR_BITS, MAX_FRAC, RECIPROCAL_BITS, SUM_FRAC
from hwq.rtl.divide import Divide
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.rows import KNOWN_CYCLES, RowBuffer, Spare, connect, fork

GUARD = SUM_FRAC - ACC_FRAC
FARTHEST = 31
UP = range(MAX_FRAC)
POWER = unsigned(SUM_FRAC + 1)
SHORT_POWER = unsigned(ACC_FRAC + 1)
PROBABILITY = unsigned(16)
POWER_STAGES = 2 * (len(COEFFICIENTS) - 1) + 2
# the quotient is 2**17 for the smallest divisor
QUOTIENT_BITS = RECIPROCAL_BITS + 1
RECIPROCAL_STAGES = 2 + QUOTIENT_BITS + KNOWN_CYCLES
SCALE_STAGES = 3
# right shift of the product, without the octave
DOWN = ACC_FRAC + RECIPROCAL_BITS - PROBABILITY.width
KNOWN = data.StructLayout({"reciprocal": unsigned(QUOTIENT_BITS), "octave": unsigned(4)})


class PowerLane(wiring.Component):
    """power = (polynomial(f) << 13) >> min(k, 31), with (x - highest) << up = -k*2**14 + f.

    Ten registers, which take their values whenever `load` says so; `keep` belongs to the first.
    The polynomial rounds half up: zeros below a fraction of fewer bits change nothing.

    Parameters
    ----------
    score : Shape
        Shape of x.
    """

    def __init__(self, score: Shape) -> None:
        ports = {
            "load": In(POWER_STAGES),
            "x": In(score),
            "highest": In(score),
            "up": In(UP),
            "keep": In(1),
            "power": Out(POWER),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Return the ten stages."""
        m = Module()
        first, *others = COEFFICIENTS

        # stage 1: the distance, in 2**-14
        distance, kept = Signal(signed(len(self.x) + MAX_FRAC)), Signal(name="keep_1")
        with m.If(self.load[0]):
            m.d.sync += [distance.eq((self.x - self.highest) << self.up), kept.eq(self.keep)]

        # stages 2 .. 9: the polynomial of the fraction, as in exp2; acc < 2**(ACC_FRAC + 1).
        # The octaves are not negative, as no score is above the highest
        octaves = Signal(range(1 << max(len(self.x), 6)))
        m.d.comb += octaves.eq(-(distance >> MAX_FRAC))
        acc, fraction = first, distance[:MAX_FRAC]
        shift, keep = Mux(octaves > FARTHEST, FARTHEST, octaves), kept
        for k, coefficient in enumerate(others):
            product = Signal(unsigned(ACC_FRAC + 1 + MAX_FRAC), name=f"product_{k}")
            rounded = ((product + (1 << (MAX_FRAC - 1))) >> MAX_FRAC) + coefficient
            sources = [(acc * fraction, product), (rounded, Signal(ACC_FRAC + 1, name=f"acc_{k}"))]
            for half, (value, register) in enumerate(sources):
                stage = 2 * k + half + 1
                next_fraction = Signal(MAX_FRAC, name=f"fraction_{stage}")
                next_shift = Signal(range(FARTHEST + 1), name=f"shift_{stage}")
                next_keep = Signal(name=f"keep_{stage + 1}")
                with m.If(self.load[stage]):
                    m.d.sync += [
                        register.eq(value),
                        next_fraction.eq(fraction),
                        next_shift.eq(shift),
                        next_keep.eq(keep),
                    ]
                acc, fraction, shift, keep = register, next_fraction, next_shift, next_keep

        # stage 10: the octaves
        with m.If(self.load[POWER_STAGES - 1]):
            m.d.sync += self.power.eq(Mux(keep, (acc << GUARD) >> shift, 0))
        return m


class Powers(StreamUnit):
    """Powers of two of the distances to the row's highest score.

    Latency 10 cycles; one word per cycle.

    Ports: `i` a structure of `word`, the scores and which of them to `keep`, `known`, the highest,
    and `last`; `o` a structure of `elements`, unsigned(31) with 30 fraction bits, and `last`; `up`
    by how much a score is shifted left to have 14 fraction bits.

    Per lane four multipliers of 18 x 14 bits and two shifters.

    Parameters
    ----------
    score : Shape
        Shape of a score.
    lanes : int
        Scores per word.
    """

    def __init__(self, score: Shape, lanes: int) -> None:
        self.score, self.lanes = score, lanes
        self.word = data.StructLayout({"scores": data.ArrayLayout(score, lanes), "keep": lanes})
        word = {"word": self.word, "known": score, "last": 1}
        power = {"elements": data.ArrayLayout(POWER, lanes), "last": 1}
        super().__init__(data.StructLayout(word), data.StructLayout(power), {"up": In(UP)})

    @property
    def latency_cycles(self) -> int:
        """Distance, polynomial, shift."""
        return POWER_STAGES

    def elaborate(self, platform: object) -> Module:
        """Return the lanes."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, POWER_STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        last: Value = self.i.p.last
        for stage in range(POWER_STAGES):
            last_before, last = last, Signal(name=f"last_{stage + 1}")
            with m.If(p.load[stage]):
                m.d.sync += last.eq(last_before)
        m.d.comb += self.o.p.last.eq(last)
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = PowerLane(self.score)
            m.d.comb += [load.eq(p.load[n]) for n, load in enumerate(lane.load)]
            m.d.comb += [
                lane.x.eq(self.i.p.word.scores[k]),
                lane.keep.eq(self.i.p.word.keep[k]),
                lane.highest.eq(self.i.p.known),
                lane.up.eq(self.up),
                self.o.p.elements[k].eq(lane.power),
            ]
        return m


class Reciprocal(StreamUnit):
    """reciprocal = round(2**40 / M), M the 24 leading bits of a sum of powers.

    Latency 21 cycles; one sum per cycle.

    Ports: `i` the sum, at least 2**30; `o` a structure of `reciprocal`, unsigned(18), and
    `octave`, unsigned(4): how many bits more than 31 the sum has.

    A shifter and a divider of 18 stages.

    Parameters
    ----------
    total : Shape
        Shape of the sum.
    """

    def __init__(self, total: Shape) -> None:
        super().__init__(total, KNOWN)

    @property
    def latency_cycles(self) -> int:
        """Leading one, shift, division, and the octave again."""
        return RECIPROCAL_STAGES

    def elaborate(self, platform: object) -> Module:
        """Return the normalisation and the division."""
        m = Module()
        ready = Signal()
        m.submodules.spare = spare = Spare(self.i.payload.shape())
        connect(m, self.i, spare.i)
        p = Pipeline(m, spare.o.valid, ready, depth=2)
        m.d.comb += spare.o.ready.eq(p.ready)

        # stage 1: octaves above 2**30, at most 12 for 4096 powers of at most 2**30
        sum_of_all, lead = spare.o.payload, Signal(4)
        for k in range(len(sum_of_all) - SUM_FRAC):
            with m.If(sum_of_all[SUM_FRAC + k]):
                m.d.comb += lead.eq(k)
        total, octave_1 = Signal.like(sum_of_all), Signal(4)
        with m.If(p.load[0]):
            m.d.sync += [total.eq(sum_of_all), octave_1.eq(lead)]

        # stage 2: the leading bits
        divisor, octave_2 = Signal(DIVISOR_BITS), Signal(4)
        with m.If(p.load[1]):
            m.d.sync += divisor.eq((total >> octave_1) >> (SUM_FRAC + 1 - DIVISOR_BITS))
            m.d.sync += octave_2.eq(octave_1)

        # the division, rounded half up; the octave waits for it
        unity = DIVISOR_BITS - 1 + RECIPROCAL_BITS
        m.submodules.divide = divide = Divide(unity + 1, DIVISOR_BITS, QUOTIENT_BITS)
        m.submodules.octaves = octaves = RowBuffer(
            unsigned(4), unsigned(QUOTIENT_BITS), words=1, latency=divide.latency_cycles
        )
        fork(m, p.valid[1], ready, [divide.i, octaves.words])
        connect(m, divide.o, octaves.known)
        m.d.comb += [
            divide.i.p.dividend.eq((1 << unity) + (divisor >> 1)),
            divide.i.p.divisor.eq(divisor),
            octaves.words.p.word.eq(octave_2),
            octaves.words.p.last.eq(1),
            self.o.valid.eq(octaves.o.valid),
            octaves.o.ready.eq(self.o.ready),
            self.o.p.reciprocal.eq(octaves.o.p.known),
            self.o.p.octave.eq(octaves.o.p.word),
        ]
        return m


class Scale(StreamUnit):
    """p = min(round(q * reciprocal / 2**(18 + octave)), 65535), ties up.

    Latency 3 cycles; one word per cycle.

    Ports: `i` a structure of `word`, an array of unsigned(18), `known`, the reciprocal and its
    octave, and `last`; `o` an array of unsigned(16).

    Per lane a multiplier of 18 x 18 bits and a shifter.

    Parameters
    ----------
    lanes : int
        Powers per word.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        word = {"word": data.ArrayLayout(SHORT_POWER, lanes), "known": KNOWN, "last": 1}
        super().__init__(data.StructLayout(word), data.ArrayLayout(PROBABILITY, lanes))

    @property
    def latency_cycles(self) -> int:
        """Multiply, shift, round."""
        return SCALE_STAGES

    def elaborate(self, platform: object) -> Module:
        """Return the three stages of all lanes."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, SCALE_STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        top = (1 << PROBABILITY.width) - 1
        octave = Signal(4)
        with m.If(p.load[0]):
            m.d.sync += octave.eq(self.i.p.known.octave)
        for k in range(self.lanes):
            # both factors are at most 2**17: the product has 35 bits, 18 after the shift
            product = Signal(2 * ACC_FRAC + 1, name=f"product_{k}")
            shifted = Signal(ACC_FRAC + 1, name=f"shifted_{k}")
            rounded = (shifted + 1) >> 1
            with m.If(p.load[0]):
                m.d.sync += product.eq(self.i.p.word[k] * self.i.p.known.reciprocal)
            with m.If(p.load[1]):
                m.d.sync += shifted.eq((product >> octave) >> (DOWN - 1))
            with m.If(p.load[2]):
                m.d.sync += self.o.payload[k].eq(Mux(rounded > top, top, rounded))
        return m
