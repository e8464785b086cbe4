# amaranth: UnusedElaboratable=no
"""Scales of an image by one multiplier; all that is trained comes from a memory."""

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.numerics import horner
from hwq.numerics.scale_predictor import FRAC, ScalePredictorSpec
from hwq.rtl.exp2 import Exp2
from hwq.rtl.horner import HornerStep
from hwq.rtl.pipeline import delayed, saturated, settled
from hwq.rtl.scale_predictor import EXP2, Q4_12
from hwq.rtl.wide import part_products, total
from hwq.rtl.word_reader import WordReader, words_signature

STEP_CYCLES = horner.timing(1).latency_cycles
"""From one parameter to the next: a step of a polynomial takes the result of the one before."""
_MOST_FEATURES = 8
_ACC = signed(64)


class _State(IntEnum):
    """What the next parameter is."""

    FEATURES = 0
    """Half of an offset, or a column of the projection."""
    BIAS = 1
    POLYNOMIALS = 2
    """A coefficient."""
    END = 3
    """There is none, but the last polynomial's last step."""


PREDICTOR_SETTINGS = data.StructLayout(
    {
        "features": range(_MOST_FEATURES + 1),
        "columns": 16,
        "scales": 16,
        "degree": range(4),
        "shift": range(48),
        "limit": unsigned(15),
    }
)


class PredictorCore(wiring.Component):
    """Features of all ranges, then polynomials of the features, and two powers of two a scale.

    f_i = sat16(((sum_c projection[i, c] * range[c] + half) >> shift) + offsets[i]),
    y_l = clamp(biases[l] + sum_i Horner(f_i; coefficients[l, i], 0), -limit, limit); what leaves is
    2**y_l and 2**-y_l (`hwq.numerics.scale_predictor`).

    One parameter every STEP_CYCLES, in the order of `hwq.compiler.emit_scales.predictor_words`. A
    scale leaves STEP_CYCLES + 11 cycles behind what would be the parameter after its last one.

    Ports:

    * `start`, `settings` (`predictor_settings`);
    * `ranges`, `parameters`: words of 16-bit elements (`word_reader.words_signature`); a range is
      two of them, and all come again for each feature;
    * `o`: `valid`, `last`, and `pieces`, 16 bits each: mantissa and exponent of the scale, and of
      its reciprocal, in every fourth of the lanes; `keep`, where they belong.

    A multiplier of 16 x 32 bits and an accumulator, one of 16 x 16, those of `Exp2`.

    Parameters
    ----------
    lanes : int
        At least 4.
    """

    def __init__(self, lanes: int) -> None:
        require(lanes >= 4 and lanes % 4 == 0, f"lanes must be a multiple of 4, not {lanes}")
        self.lanes = lanes
        pieces = {"pieces": Out(data.ArrayLayout(16, lanes)), "keep": Out(lanes)}
        super().__init__(
            {
                "settings": In(PREDICTOR_SETTINGS),
                "start": In(1),
                "ranges": Out(words_signature(lanes)),
                "parameters": Out(words_signature(lanes)),
                "o": Out(wiring.Signature({"valid": Out(1), "last": Out(1), **pieces})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the readers, the sequence of parameters, and the paths that take them."""
        m = Module()
        s, state, runs = self.settings, Signal(_State), Signal()
        ranges = self._reader(m, "ranges", 2)
        parameters = self._reader(m, "parameters", 1)
        place, feature, scale = Signal(17), Signal(range(_MOST_FEATURES)), Signal(16)
        phase = Signal(range(STEP_CYCLES))
        word, tick = parameters.elements[0].as_signed(), Signal()
        projects = (state == _State.FEATURES) & (place >= 2)
        there = (parameters.valid | (state == _State.END)) & (ranges.valid | ~projects)
        m.d.comb += [
            tick.eq(runs & (phase == 0) & there),
            parameters.take.eq(tick & (state != _State.END)),
            ranges.take.eq(tick & projects),
        ]
        with m.If(tick | (phase > 0)):
            m.d.sync += phase.eq(Mux(phase == STEP_CYCLES - 1, 0, phase + 1))

        # what the next parameter is
        length, ends, last_feature = Signal.like(place), Signal(), Signal()
        m.d.comb += [
            length.eq(Mux(state == _State.FEATURES, s.columns + 2, s.degree)),
            ends.eq(place + 1 == length),
            last_feature.eq(feature + 1 == s.features),
        ]
        with m.If(tick & (state != _State.BIAS)):
            m.d.sync += place.eq(Mux(ends, 0, place + 1))
            with m.If(ends):
                m.d.sync += feature.eq(Mux(last_feature, 0, feature + 1))
        with m.Switch(state):
            with m.Case(_State.FEATURES):
                with m.If(tick & ends & last_feature):
                    m.d.sync += state.eq(_State.BIAS)
            with m.Case(_State.BIAS):
                with m.If(tick):
                    m.d.sync += [state.eq(_State.POLYNOMIALS), scale.eq(scale + 1)]
            with m.Case(_State.POLYNOMIALS):
                with m.If(tick & ends & last_feature):
                    m.d.sync += state.eq(Mux(scale == s.scales, _State.END, _State.BIAS))
            with m.Case(_State.END):
                with m.If(tick):
                    m.d.sync += runs.eq(0)
        with m.If(self.start):
            m.d.sync += [x.eq(0) for x in (place, feature, scale, phase)]
            m.d.sync += [runs.eq(1), state.eq(_State.FEATURES)]

        in_features = tick & (state == _State.FEATURES)
        features = self._features(m, in_features, word, ranges.elements, place, feature)
        y, ready = self._polynomials(m, tick & ~in_features, state, word, place, feature, features)
        self._powers(m, y, ready)
        return m

    def _reader(self, m: Module, name: str, per: int) -> WordReader:
        m.submodules[name] = reader = WordReader(self.lanes, per)
        wiring.connect(m, reader.words, wiring.flipped(getattr(self, name)))
        m.d.comb += reader.start.eq(self.start)
        return reader

    def _features(
        self, m: Module, tick: Value, word: Value, pair: Value, place: Value, feature: Value
    ) -> data.View:
        """Return all features; each is there six cycles after its last column."""
        s = self.settings
        low, offset = Signal(16), Signal(signed(32))
        with m.If(tick & (place == 0)):
            m.d.sync += low.eq(word)
        with m.If(tick & (place == 1)):
            m.d.sync += offset.eq(Cat(low, word))
        # stage 1 holds the operands, stage 2 multiplies, stage 3 adds, stage 4 shifts
        weight, value = delayed(m, word, 1), delayed(m, Value.cast(pair).as_signed(), 1)
        products = part_products(m, 1, value, weight, "product")
        acc, shifted = Signal(_ACC), Signal(_ACC)
        m.d.sync += shifted.eq(acc >> s.shift)
        half = (1 << s.shift) >> 1
        adds, is_first = delayed(m, tick & (place >= 2), 2), delayed(m, place == 2, 2)
        with m.If(adds):
            m.d.sync += acc.eq(total([(0, Mux(is_first, half, acc)), *products]))
        # stage 5 adds the offset, stage 6 saturates
        centred = Signal(signed(_ACC.width + 1))
        m.d.sync += centred.eq(shifted + offset)
        features = Signal(data.ArrayLayout(Q4_12, _MOST_FEATURES))
        ends, number = delayed(m, tick & (place == s.columns + 1), 5), delayed(m, feature, 5)
        with m.If(ends):
            m.d.sync += features[number].eq(saturated(centred, Q4_12))
        return features

    def _polynomials(
        self,
        m: Module,
        tick: Value,
        state: Value,
        word: Value,
        place: Value,
        feature: Value,
        features: data.View,
    ) -> tuple[Value, Value]:
        """Return the logarithm of a scale, and when it is there."""
        m.submodules.step = step = HornerStep(Q4_12, Q4_12, FRAC)
        acc, terms, bias = Signal(Q4_12), Signal(signed(20)), Signal(Q4_12)
        is_bias, is_end = state == _State.BIAS, state == _State.END
        opens = tick & (state == _State.POLYNOMIALS) & (place == 0)
        # behind its last coefficient a polynomial has a step with 0, under the next parameter
        closes, before = Signal(), Signal.like(feature)
        with m.If(tick):
            m.d.sync += [
                closes.eq((state == _State.POLYNOMIALS) & (place + 1 == self.settings.degree)),
                before.eq(feature),
            ]
        adds = delayed(m, closes, STEP_CYCLES)
        finishes = delayed(m, closes & (is_bias | is_end), STEP_CYCLES)
        result = Signal(Q4_12)
        m.d.comb += [
            result.eq(Mux(step.o.valid & ~adds, step.o.p.acc, acc)),
            step.i.valid.eq(tick & (closes | (~is_bias & ~is_end & (place > 0)))),
            step.i.p.acc.eq(result),
            step.i.p.x.eq(features[Mux(closes, before, feature)]),
            step.i.p.coefficient.eq(Mux(closes, 0, word)),
            step.o.ready.eq(1),
        ]
        m.d.sync += acc.eq(Mux(opens, word, result))
        summed = Signal(terms.shape())
        m.d.comb += summed.eq(terms + step.o.p.acc)
        with m.If(tick & is_bias):
            m.d.sync += bias.eq(word)
            with m.If(~closes):
                m.d.sync += terms.eq(word)
        y, ready = Signal(Q4_12), step.o.valid & finishes
        with m.If(step.o.valid & adds):
            m.d.sync += terms.eq(Mux(finishes, bias, summed))
        # the terms so far are there a step before the last one: how far it may go is known by then
        limit, lowest, highest = Signal(Q4_12), Signal(signed(21)), Signal(signed(21))
        m.d.comb += limit.eq(self.settings.limit)
        m.d.sync += [lowest.eq(-limit - terms), highest.eq(limit - terms)]
        above, below = step.o.p.acc > highest, step.o.p.acc < lowest
        with m.If(ready):
            m.d.sync += y.eq(Mux(above, limit, Mux(below, -limit, summed)))
        return y, delayed(m, ready, 1)

    def _powers(self, m: Module, y: Value, ready: Value) -> None:
        """Send the factor and its reciprocal of each logarithm."""
        m.submodules.exp2 = exp2 = Exp2(EXP2)
        first, is_second = Signal(32), Signal()
        scale, slot = Signal(16), Signal(range(max(self.lanes // 4, 2)))
        again = delayed(m, ready, 1)
        m.d.comb += [
            exp2.i.valid.eq(ready | again),
            exp2.i.payload.eq(Mux(ready, y, -y)),
            exp2.o.ready.eq(1),
        ]
        exponent = Signal(signed(16))
        m.d.comb += exponent.eq(exp2.o.p.exponent)
        pair = Cat(exp2.o.p.mantissa, exponent)
        m.d.comb += [
            self.o.valid.eq(exp2.o.valid & is_second),
            self.o.last.eq(scale + 1 == self.settings.scales),
            self.o.keep.eq(0b1111 << (slot << 2)),
            Value.cast(self.o.pieces).eq(Cat(first, pair).replicate(self.lanes // 4)),
        ]
        with m.If(exp2.o.valid):
            m.d.sync += [is_second.eq(~is_second), first.eq(pair)]
        with m.If(self.o.valid):
            m.d.sync += scale.eq(scale + 1)
            m.d.sync += slot.eq(Mux(slot == self.lanes // 4 - 1, 0, slot + 1))
        with m.If(self.start):
            m.d.sync += [is_second.eq(0), scale.eq(0), slot.eq(0)]


def predictor_settings(spec: ScalePredictorSpec, lanes: int) -> dict[str, int]:
    """Return the settings under which `PredictorCore` predicts the scales of a spec.

    Raises
    ------
    SpecError
        If ranges are no whole words, or for a value that does not fit its field.
    """
    pieces = 2 * spec.columns
    require(pieces % lanes == 0, f"{spec.columns} ranges are no whole words of {lanes} pieces")
    return settled(
        PREDICTOR_SETTINGS,
        features=spec.features,
        columns=spec.columns,
        scales=spec.scales,
        degree=spec.degree,
        shift=spec.shift,
        limit=spec.limit,
    )
