"""Gateware twin of hwq.numerics.epilogue."""

from collections.abc import Iterable, Sequence
from itertools import product as combinations

import numpy as np
from amaranth.hdl import Const, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.epilogue import (
    ADDEND_BITS,
    GUARD_BITS,
    SQRT2,
    ZERO_POINT_BITS,
    EpilogueSpec,
)
from hwq.numerics.outlier_join import SUM_BITS
from hwq.numerics.requantize import ACC_BITS, MULT_BITS
from hwq.rtl.pipeline import Pipeline, StreamUnit, clamped, settled, within
from hwq.rtl.stimulus import values
from hwq.rtl.wide import (
    Part,
    carried,
    part_products,
    parts,
    register,
    rounded,
    shifted_far,
    shifted_near,
    total,
)

STAGES = 8

SCALING = data.StructLayout(
    {
        "addend": signed(ADDEND_BITS),
        "mult": unsigned(MULT_BITS),
        "shift": unsigned(6),
        "zero_point": signed(ZERO_POINT_BITS),
    }
)
"""What a channel has of its own."""


class Epilogue(StreamUnit):
    """From the accumulators of one element to its code; all parameters travel with it.

    acc = sum of plane_weights * planes + addend,
    code = clamp(((acc*mult + 2**(shift-1)) >> shift) + zero_point, lo, hi).

    Latency 8 cycles; one code per cycle. Product and shift take two each: three multiplier blocks
    and the adders between them, or 63 bits shifted any distance, are longer than the others.

    Ports: `i` a structure of `acc_0`, `acc_1` and so on, signed(acc_bits), one a plane; `addend`,
    signed(addend_bits), bias and correction; `mult`, unsigned(16); `shift`, unsigned(6), 1..62;
    `zero_point`, signed(17). `o` the code, in lo..hi.

    One adder for the addend, and for two planes one more and a multiplier by a constant; a
    multiplier of 47 x 16 bits in three parts, a barrel shifter of 64 bits in two steps, an adder,
    two comparators.

    Parameters
    ----------
    spec : EpilogueSpec
        Widths, planes, and the range of the code.
    """

    def __init__(self, spec: EpilogueSpec) -> None:
        self.spec = spec
        planes = {f"acc_{k}": signed(spec.acc_bits) for k in range(len(spec.plane_weights))}
        others = {
            "addend": signed(spec.addend_bits),
            "mult": unsigned(MULT_BITS),
            "shift": unsigned(6),
            "zero_point": signed(ZERO_POINT_BITS),
        }
        super().__init__(
            data.StructLayout(planes | others), Shape.cast(range(spec.lo, spec.hi + 1))
        )

    @property
    def latency_cycles(self) -> int:
        """Weigh, add; multiply in parts, add them; shift far, shift near; round; clamp."""
        return STAGES

    @property
    def legal_inputs(self) -> Sequence[tuple[int, int]]:
        """Shifts are 1..62."""
        return self.spec.fields

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, fields] -> int64[n] codes."""
        return self.spec.compute(inputs)[0].astype(np.int64)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """int64[results, fields]: shifts of 1..62, in half of the rows one that suits the range."""
        operands = np.stack([values(rng, *ends, results) for ends in self.spec.fields], axis=-1)
        weights = np.array(self.spec.plane_weights)
        planes = operands[:, : weights.size]
        total = planes @ weights + operands[:, weights.size]
        # |acc * mult| / 2**shift within a factor of four of the range
        magnitude = np.abs(total).astype(np.float64) * operands[:, -3]
        span = max(abs(self.spec.lo), abs(self.spec.hi), 1)
        suits = np.log2(np.maximum(magnitude / span, 1.0)) + rng.uniform(-2, 2, results)
        chosen = np.clip(np.rint(suits).astype(np.int64), 1, 62)
        operands[:, -2] = np.where(rng.random(results) < 0.5, chosen, operands[:, -2])
        small = np.clip(rng.integers(-span, span, results, endpoint=True), *self.spec.fields[-1])
        operands[:, -1] = np.where(rng.random(results) < 0.5, small, operands[:, -1])
        # the largest products there are
        extremes = np.array(list(combinations(*self.spec.fields)), np.int64)[:results]
        operands[: len(extremes)] = extremes
        return operands

    def elaborate(self, platform: object) -> Module:
        """Return the eight stages."""
        m = Module()
        spec = self.spec
        p = Pipeline(m, self.i.valid, self.o.ready, depth=STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        i = self.i.p
        terms = [(0, i.addend)]
        for k, weight in enumerate(spec.plane_weights):
            terms += _weighted(i[f"acc_{k}"], weight)
        wide = _scaled(m, p, terms, i)
        with m.If(p.load[-1]):
            m.d.sync += self.o.payload.eq(clamped(wide, spec.lo, spec.hi))
        return m


class EpilogueCore(StreamUnit):
    """From the accumulators of one element, of any product, to its code.

    acc = acc_0 * 2**up + acc_1 * 181 + addend - correction; the code as `Epilogue` has it.

    Latency 8 cycles; one code per cycle.

    Ports: `i` a structure of `acc_0`, signed(46), a sum or one that outliers are joined to,
    `acc_1`, signed(32), and `addend`, `mult`, `shift` and `zero_point` (`SCALING`); `o` the code,
    of shape `out`; `settings`: `up`, and `lo` and `hi`, the range of the code; `correction`,
    signed(46), of the sums that came a cycle before.

    Parameters
    ----------
    out : Shape
        Shape of a code, which holds all ranges.
    """

    def __init__(self, out: Shape) -> None:
        self.out = out
        planes = {"acc_0": signed(SUM_BITS + 1), "acc_1": signed(32)}
        scaling = {name: field.shape for name, field in SCALING}
        settings = data.StructLayout({"up": range(GUARD_BITS + 1), "lo": out, "hi": out})
        ports = {"settings": In(settings), "correction": In(signed(ADDEND_BITS))}
        super().__init__(data.StructLayout(planes | scaling), out, ports)

    @property
    def latency_cycles(self) -> int:
        """Weigh, add; multiply in parts, add them; shift far, shift near; round; clamp."""
        return STAGES

    def settings_of(self, weights: Sequence[int], lo: int, hi: int) -> dict[str, int]:
        """Return the settings for planes of these weights and codes lo..hi.

        Raises
        ------
        SpecError
            For other weights than a power of two up to 2**12, and 181 of a second plane; for a
            range that `out` does not hold.
        """
        first, *others = weights
        up = first.bit_length() - 1
        require(
            first == 1 << up and up <= GUARD_BITS and tuple(others) in ((), SQRT2[1:]),
            f"plane_weights must be a power of two up to {1 << GUARD_BITS} and {SQRT2[1]}, "
            f"not {tuple(weights)}",
        )
        return settled(self.settings.shape(), up=up, lo=lo, hi=hi)

    def elaborate(self, platform: object) -> Module:
        """Return the eight stages."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, depth=STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        i, settings = self.i.p, self.settings
        planes = [(0, i.acc_0 << settings.up), *_weighted(i.acc_1, SQRT2[1])]
        wide = _scaled(m, p, [(0, i.addend), *planes], i, self.correction)
        with m.If(p.load[-1]):
            m.d.sync += self.o.payload.eq(within(wide, settings.lo, settings.hi))
        return m


def _weighted(acc: Value, weight: int) -> list[Part]:
    """Return what adds up to acc * weight: a power of two takes no multiplier."""
    up = weight.bit_length() - 1
    if weight == 1 << up:
        return [(up, acc)]
    return [(start, part * Const(weight)) for start, part in parts(acc)]


def _scaled(
    m: Module, p: Pipeline, terms: Iterable[Part], i: data.View, correction: Value | int = 0
) -> Signal:
    """Stages 1 to 7: the sum of all terms; times mult, rounded by shift, plus the zero point.

    A correction is subtracted in the second stage.
    """
    load = p.load
    mult = carried(m, load[:2], i.mult, "mult")
    shift = carried(m, load[:4], i.shift, "shift")
    zero_point = carried(m, load[:6], i.zero_point, "zero_point")

    # stages 1 and 2: weigh, and add; the spec holds the sum below 2**46
    weighed = [(up, register(m, load[0], term, f"term_{k}")) for k, (up, term) in enumerate(terms)]
    acc = register(m, load[1], total(weighed) - correction, "acc", signed(ACC_BITS + 1))

    # stages 3 and 4: multiply; below 2**(46 + 16)
    products = part_products(m, load[2], acc, mult, "product")
    product = register(m, load[3], total(products), "product", signed(ACC_BITS + MULT_BITS + 1))

    # stages 5 and 6: shift but for one bit, 1 or more
    far = register(m, load[4], shifted_far(product << 1, shift), "far")
    shift_near = register(m, load[4], shift, "shift_near")
    near = register(m, load[5], shifted_near(far, shift_near), "near")

    # stage 7: round half up, and add the zero point; below 2**61 + 2**16
    return register(m, load[6], rounded(near, zero_point), "wide", product.shape())
