"""Gateware twin of hwq.numerics.exp2."""

import numpy as np
from amaranth.hdl import Module, Mux, signed, unsigned
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.numerics.exp2 import ACC_FRAC, COEFFICIENTS, Exp2Spec
from hwq.rtl.horner import HornerStep
from hwq.rtl.pipeline import Pipeline, StreamUnit


class Exp2(StreamUnit):
    """Power of two: 2**(x / 2**frac) = mantissa * 2**(exponent - mantissa_bits + 1).

    exponent = x >> frac; the mantissa is a polynomial of degree 4 in the low frac bits by
    Horner's rule, rounded half up to mantissa_bits and clamped to its largest value.

    Latency 9 cycles (2 per degree and 1 for the rounding); one value per cycle.

    Ports: `i` signed(in_bits), x; `o` a structure of `mantissa`, unsigned(mantissa_bits), and
    `exponent`, signed(in_bits - frac).

    Four multipliers of 18 x frac bits.

    Parameters
    ----------
    spec : Exp2Spec
        Formats of x and of the mantissa.
    """

    def __init__(self, spec: Exp2Spec) -> None:
        self.spec = spec
        result = {
            "mantissa": unsigned(spec.mantissa_bits),
            "exponent": signed(spec.in_bits - spec.frac),
        }
        super().__init__(signed(spec.in_bits), data.StructLayout(result))

    @property
    def latency_cycles(self) -> int:
        """Two cycles per degree and one for the rounding."""
        return 2 * (len(COEFFICIENTS) - 1) + 1

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] of in_bits bits -> int64[n, 2]: mantissa, exponent."""
        return np.stack(self.spec.compute(inputs), axis=-1, dtype=np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the chain of steps and the rounding."""
        m = Module()
        spec = self.spec
        first, *others = COEFFICIENTS
        valid, ready = self.i.valid, self.i.ready
        acc, x, side = first, self.i.payload[: spec.frac], self.i.payload[spec.frac :]

        # stages 1 .. 8: the polynomial; acc < 2**(ACC_FRAC + 1) for every fraction
        for k, coefficient in enumerate(others):
            step = HornerStep(
                unsigned(ACC_FRAC + 1),
                unsigned(spec.frac),
                spec.frac,
                coefficient=coefficient,
                side=unsigned(spec.in_bits - spec.frac),
                saturate=False,
            )
            m.submodules[f"step_{k + 1}"] = step
            m.d.comb += [
                step.i.valid.eq(valid),
                ready.eq(step.i.ready),
                step.i.p.acc.eq(acc),
                step.i.p.x.eq(x),
                step.i.p.side.eq(side),
            ]
            valid, ready = step.o.valid, step.o.ready
            acc, x, side = step.o.p.acc, step.o.p.x, step.o.p.side

        # stage 9: round the accumulator to the mantissa
        p = Pipeline(m, valid, self.o.ready, depth=1)
        m.d.comb += [ready.eq(p.ready), self.o.valid.eq(p.valid[0])]
        drop = ACC_FRAC + 1 - spec.mantissa_bits
        rounded = (acc + (1 << (drop - 1))) >> drop
        top = (1 << spec.mantissa_bits) - 1
        with m.If(p.load[0]):
            m.d.sync += [
                self.o.p.mantissa.eq(Mux(rounded > top, top, rounded)),
                self.o.p.exponent.eq(side),
            ]
        return m
