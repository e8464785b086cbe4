# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.scale_predictor."""

from itertools import pairwise

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.scale_predictor import FRAC, ScalePredictorSpec
from hwq.rtl.exp2 import Exp2
from hwq.rtl.horner import HornerStep
from hwq.rtl.pipeline import Pipeline, StreamUnit, clamped, saturated
from hwq.rtl.range_extract import RangeExtract
from hwq.rtl.rows import Spare
from hwq.rtl.wide import carried, part_products, register, total

EXP2 = Exp2Spec(in_bits=16, frac=FRAC)
Q4_12 = signed(16)


class Projection(StreamUnit):
    """f_i = sat16(((sum_c projection[i, c] * range[c] + half) >> shift) + offsets[i]).

    Latency 6 cycles from the last range; one range per cycle. Weights go through a register.

    Ports: `i` the ranges, channel by channel; `o` an array of the features.

    A multiplier and an accumulator per feature, one memory of all weights.

    Parameters
    ----------
    spec : ScalePredictorSpec
        The predictor that it is part of.
    range_shape : Shape
        Shape of a range.
    """

    def __init__(self, spec: ScalePredictorSpec, range_shape: Shape) -> None:
        self.spec, self.range_shape = spec, range_shape
        self.inputs_per_result = spec.columns
        super().__init__(range_shape, data.ArrayLayout(Q4_12, spec.features))

    def elaborate(self, platform: object) -> Module:
        """Return the six stages."""
        m = Module()
        spec = self.spec
        columns = [list(column) for column in zip(*spec.projection, strict=True)]
        m.submodules.weights = weights = Memory(
            shape=data.ArrayLayout(signed(16), spec.features), depth=spec.columns, init=columns
        )
        weight = weights.read_port()
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=4)
        m.d.comb += self.i.ready.eq(front.ready)
        column = Signal(range(spec.columns))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += column.eq(Mux(column == spec.columns - 1, 0, column + 1))

        # stages 1 and 2: read the weights of the column
        load = front.load
        m.d.comb += [weight.addr.eq(column), weight.en.eq(load[0])]
        value = carried(m, load[:2], self.i.payload, "value")
        weights_2 = [register(m, load[1], w, f"weight_{i}") for i, w in enumerate(weight.data)]
        first = carried(m, load[:3], column == 0, "first")
        last = carried(m, load, column == spec.columns - 1, "last")

        # stages 3 and 4: multiply; accumulate, starting from the rounding constant
        half = (1 << spec.shift) >> 1
        largest = max(sum(map(abs, row)) for row in spec.projection)
        acc_bits = (largest * ((1 << self.range_shape.width) - 1) + half).bit_length() + 1
        accs = [Signal(signed(acc_bits), name=f"acc_{i}") for i in range(spec.features)]
        for i, acc in enumerate(accs):
            products = part_products(m, load[2], value, weights_2[i], f"product_{i}")
            with m.If(load[3] & front.valid[2]):
                m.d.sync += acc.eq(total([(0, Mux(first, half, acc)), *products]))

        # stages 5 and 6: shift, centre; saturate
        back = Pipeline(m, front.valid[3] & last, self.o.ready, depth=2)
        m.d.comb += [ready.eq(back.ready | ~last), self.o.valid.eq(back.valid[1])]
        for i, (acc, offset) in enumerate(zip(accs, spec.offsets, strict=True)):
            feature = register(m, back.load[0], (acc >> spec.shift) + offset, f"feature_{i}")
            with m.If(back.load[1]):
                m.d.sync += self.o.payload[i].eq(saturated(feature, Q4_12))
        return m


class Terms(StreamUnit):
    """h_li = Horner(f_i; coefficients[l, i], 0), for every scale l and, fastest, every feature i.

    Latency 2 + 2*degree cycles to the first term, then one a cycle; the features stay meanwhile.

    Ports: `i` an array of the features; `o` signed(16), the terms.

    `degree` multipliers of 16 x 16 bits, one memory of all coefficients.

    Parameters
    ----------
    spec : ScalePredictorSpec
        The predictor that it is part of.
    """

    def __init__(self, spec: ScalePredictorSpec) -> None:
        self.spec = spec
        super().__init__(data.ArrayLayout(Q4_12, spec.features), Q4_12)

    def elaborate(self, platform: object) -> Module:
        """Return the sequencer and the Horner chain."""
        m = Module()
        degree, features = self.spec.degree, self.spec.features
        terms = [list(term) for polynomials in self.spec.coefficients for term in polynomials]
        m.submodules.coefficients = coefficients = Memory(
            shape=data.ArrayLayout(Q4_12, degree), depth=max(len(terms), 2), init=terms
        )
        coefficient = coefficients.read_port()

        # stages 1 and 2: issue one term per cycle; read its coefficients
        feature, term = Signal(range(max(features, 2))), Signal(range(max(len(terms), 2)))
        last_term = term == len(terms) - 1
        ready, issued = Signal(), Signal(Q4_12)
        issue = Pipeline(m, self.i.valid, ready, depth=2)
        m.d.comb += [
            self.i.ready.eq(issue.ready & last_term),
            coefficient.addr.eq(term),
            coefficient.en.eq(issue.load[0]),
        ]
        with m.If(issue.load[0] & self.i.valid):
            m.d.sync += [
                issued.eq(self.i.payload[feature]),
                feature.eq(Mux(feature == features - 1, 0, feature + 1)),
                term.eq(Mux(last_term, 0, term + 1)),
            ]

        x = register(m, issue.load[1], issued, "x")
        acc, *later = (
            register(m, issue.load[1], c, f"coefficient_{k}")
            for k, c in enumerate(coefficient.data)
        )

        # stages 3 .. 2*degree + 2: the coefficients of later steps travel along
        valid = issue.valid[1]
        for k in range(degree):
            side = data.ArrayLayout(Q4_12, len(later) - 1) if len(later) > 1 else None
            step = HornerStep(Q4_12, Q4_12, FRAC, coefficient=None if later else 0, side=side)
            m.submodules[f"step_{k + 1}"] = step
            m.d.comb += [step.i.valid.eq(valid), ready.eq(step.i.ready)]
            m.d.comb += [step.i.p.acc.eq(acc), step.i.p.x.eq(x)]
            if later:
                m.d.comb += step.i.p.coefficient.eq(later[0])
                m.d.comb += [step.i.p.side[j].eq(c) for j, c in enumerate(later[1:])]
            valid, ready = step.o.valid, step.o.ready
            acc, x = step.o.p.acc, step.o.p.x
            later = [step.o.p.side[j] for j in range(len(later) - 1)]
        m.d.comb += [self.o.valid.eq(valid), ready.eq(self.o.ready), self.o.payload.eq(acc)]
        return m


class Corrections(StreamUnit):
    """y_l = clamp(biases[l] + sum_i h_li, -limit, limit).

    Latency 4 cycles from the last term of a scale; one term per cycle.

    Ports: `i` signed(16), the terms; `o` signed(16), scale by scale.

    One adder, one memory of the biases.

    Parameters
    ----------
    spec : ScalePredictorSpec
        The predictor that it is part of.
    """

    def __init__(self, spec: ScalePredictorSpec) -> None:
        self.spec = spec
        self.inputs_per_result = spec.features
        super().__init__(Q4_12, Q4_12)

    def elaborate(self, platform: object) -> Module:
        """Return the four stages."""
        m = Module()
        spec = self.spec
        m.submodules.biases = biases = Memory(
            shape=Q4_12, depth=max(spec.scales, 2), init=list(spec.biases)
        )
        bias = biases.read_port()
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=3)
        m.d.comb += self.i.ready.eq(front.ready)
        feature, scale = Signal(range(max(spec.features, 2))), Signal(range(max(spec.scales, 2)))
        last_feature = feature == spec.features - 1
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += feature.eq(Mux(last_feature, 0, feature + 1))
            with m.If(last_feature):
                m.d.sync += scale.eq(Mux(scale == spec.scales - 1, 0, scale + 1))

        # stages 1 and 2: read the bias
        load = front.load
        m.d.comb += [bias.addr.eq(scale), bias.en.eq(load[0])]
        term = carried(m, load[:2], self.i.payload, "term")
        begin = register(m, load[1], bias.data, "begin")
        first = carried(m, load[:2], feature == 0, "first")
        last = carried(m, load, last_feature, "last")

        # stage 3: accumulate; at most 9 summands of 16 bits
        sum_so_far = Signal(signed(20))
        with m.If(load[2] & front.valid[1]):
            m.d.sync += sum_so_far.eq(Mux(first, begin, sum_so_far) + term)

        # stage 4: clamp
        back = Pipeline(m, front.valid[2] & last, self.o.ready, depth=1)
        m.d.comb += [ready.eq(back.ready | ~last), self.o.valid.eq(back.valid[0])]
        with m.If(back.load[0]):
            m.d.sync += self.o.payload.eq(clamped(sum_so_far, -spec.limit, spec.limit))
        return m


class ScalePredictor(StreamUnit):
    """Ranges of an early residual tap -> features -> polynomials -> scales and reciprocals.

    f_i = sat16(((sum_c projection[i, c] * range[c] + half) >> shift) + offsets[i])
    y_l = clamp(biases[l] + sum_i Horner(f_i; coefficients[l, i], 0), -limit, limit)
    scale_l = 2**(y_l / 2**12), reciprocal_l = 2**(-y_l / 2**12)

    With p features, L scales and n = max(p, 2) cycles per scale: latency
    27 + 2*degree + p + (L - 1)*n cycles from the last token value to the last reciprocal;
    a result every max(N, L*n) cycles, N the values of the token stream. Prediction
    overlaps with the next stream.

    Ports: `i` signed(16), the tokens as for RangeExtract, of all taps in turn; `o` a structure
    of `mantissa`, unsigned(16), and `exponent`, signed(4), for scale 0, its reciprocal, scale 1...

    p + degree + 4 multipliers, five memories.

    Parameters
    ----------
    spec : ScalePredictorSpec
        Statistic, projection and polynomials.
    """

    def __init__(self, spec: ScalePredictorSpec) -> None:
        self.spec = spec
        self.extract = RangeExtract(spec.range_extract)
        self.exp2 = Exp2(EXP2)
        self.inputs_per_result = spec.columns * spec.range_extract.tokens
        self.outputs_per_result = 2 * spec.scales
        super().__init__(signed(16), self.exp2.o.payload.shape())

    @property
    def latency_cycles(self) -> int:
        """The stages' registers, the terms of the first scale, and the other scales."""
        spec = self.spec
        # range_extract, projection, issue and Horner steps, sum
        stages = self.extract.latency_cycles + 6 + (2 + 2 * spec.degree) + 4
        terms = spec.features - 1 + (spec.scales - 1) * max(spec.features, 2)
        return stages + terms + 1 + self.exp2.latency_cycles + 1  # sign; the reciprocal behind

    @property
    def interval_cycles(self) -> int:
        """The longer of reading the tokens and computing the scales."""
        return max(self.inputs_per_result, self.spec.scales * max(self.spec.features, 2))

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n*T*C] -> int64[n*2*L, 2]: mantissa, exponent of scale, reciprocal, scale..."""
        ranges = self.extract.compute(inputs).astype(np.int32).reshape(-1, self.spec.columns)
        p = self.spec.predict_rows(ranges)
        fields = (p.mantissa, p.exponent, p.reciprocal_mantissa, p.reciprocal_exponent)
        # [n, L, field of scale and reciprocal]
        return np.stack(fields, axis=-1, dtype=np.int64).reshape(-1, 2)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """Token streams as those of RangeExtract, one a tap."""
        return self.extract.stimulus(rng, results * self.spec.columns // self.extract.spec.channels)

    def elaborate(self, platform: object) -> Module:
        """Return the chain; each scale is held for two cycles, the second one negated."""
        m = Module()
        m.submodules.range_extract = extract = self.extract
        m.submodules.projection = projection = Projection(self.spec, extract.o.payload.shape())
        m.submodules.terms = terms = Terms(self.spec)
        m.submodules.corrections = corrections = Corrections(self.spec)
        m.submodules.exp2 = exp2 = self.exp2
        m.submodules.spare = spare = Spare(extract.o.payload.shape())
        m.submodules.spare_2 = spare_2 = Spare(Q4_12)
        wiring.connect(m, wiring.flipped(self.i), extract.i)
        wiring.connect(m, exp2.o, wiring.flipped(self.o))
        for first, second in pairwise((extract, spare, projection, terms, spare_2, corrections)):
            wiring.connect(m, first.o, second.i)
        negate = Signal()
        y = corrections.o.payload
        p = Pipeline(m, corrections.o.valid, exp2.i.ready, depth=1)
        m.d.comb += [
            exp2.i.valid.eq(p.valid[0]),
            exp2.i.payload.eq(register(m, p.load[0], Mux(negate, -y, y), "exponent", Q4_12)),
            corrections.o.ready.eq(p.ready & negate),
        ]
        with m.If(corrections.o.valid & p.ready):
            m.d.sync += negate.eq(~negate)
        return m
