"""Gateware twin of hwq.numerics.rescale."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.numerics.requantize import MULT_BITS
from hwq.numerics.rescale import EXPONENTS, MANTISSA_FRAC, RescaleSpec, rescale_bias
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.stimulus import values


class Rescale(StreamUnit):
    """Multiplier and bias of one channel, each times a factor mantissa * 2**(exponent - 15).

    mult' = (mult*mantissa + 2**15) >> 16, shift' = shift - 1 - exponent,
    bias' = (bias*bias_mantissa + 2**(14-bias_exponent)) >> (15 - bias_exponent).

    Latency 3 cycles; one channel per cycle.

    Ports: `i` a structure of `mult`, unsigned(16); `shift`, unsigned(6); `mantissa`, unsigned(16);
    `exponent`, signed(4); `bias`, signed(bias_bits); `bias_mantissa` and `bias_exponent` as the
    other factor. `o` a structure of `mult`, `shift` and `bias`. Callers keep shift' in 1..62 and
    bias' in its width, as the numerics demands.

    Two multipliers, 16 x 16 and bias_bits x 16, a barrel shifter of 16 steps, two adders that
    round, one of 6 bits.

    Parameters
    ----------
    spec : RescaleSpec
        Width of the bias.
    """

    def __init__(self, spec: RescaleSpec) -> None:
        self.spec = spec
        mantissa, exponent = unsigned(MANTISSA_FRAC + 1), Shape.cast(range(*EXPONENTS))
        result = {"mult": unsigned(MULT_BITS), "shift": unsigned(6)}
        operand = {**result, "mantissa": mantissa, "exponent": exponent}
        bias = {"bias": signed(spec.bias_bits)}
        factor = {"bias_mantissa": mantissa, "bias_exponent": exponent}
        super().__init__(
            data.StructLayout(operand | bias | factor), data.StructLayout(result | bias)
        )

    @property
    def latency_cycles(self) -> int:
        """Three registers."""
        return 3

    @property
    def legal_inputs(self) -> Sequence[tuple[int, int]]:
        """Shifts are 1..62."""
        return list(self.spec.fields.values())

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, 7] -> int64[n, 3]."""
        return self.spec.compute(inputs)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """int64[results, 7]: all operands whose results are in range, none that are not."""
        drawn = {name: values(rng, *ends, results) for name, ends in self.spec.fields.items()}
        # the largest product
        drawn["mult"][:1] = drawn["mantissa"][:1] = self.spec.fields["mult"][1]
        # shift' = shift - 1 - exponent in 1..62
        spare = 1 + drawn["exponent"]
        drawn["shift"] = rng.integers(np.maximum(1, 1 + spare), np.minimum(62, 62 + spare) + 1)
        # |bias'| <= |bias| * 2**(exponent + 1) < 2**(bias_bits - 1)
        bias, mantissa, exponent = (
            drawn[name] for name in ("bias", "bias_mantissa", "bias_exponent")
        )
        least, most = self.spec.fields["bias"]
        new = rescale_bias(bias, mantissa, exponent)
        outside = (new < least) | (new > most)
        less = np.sign(bias) * (np.abs(bias) >> (EXPONENTS[1] + 2))
        drawn["bias"] = np.where(outside, less, bias)
        return np.stack(list(drawn.values()), axis=-1)

    def elaborate(self, platform: object) -> Module:
        """Return the three stages."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, depth=3)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        i, o = self.i.p, self.o.p

        # stage 1: multiply; 15 - exponent is in 8..23
        mult, bias = Signal(unsigned(32)), Signal(signed(self.spec.bias_bits + 16))
        right = Signal(range(MANTISSA_FRAC - EXPONENTS[0] + 1))
        shift_1, shift_2 = Signal.like(o.shift), Signal.like(o.shift)
        with m.If(p.load[0]):
            m.d.sync += [
                mult.eq(i.mult * i.mantissa),
                bias.eq(i.bias * i.bias_mantissa),
                right.eq(MANTISSA_FRAC - i.bias_exponent),
                shift_1.eq(i.shift - 1 - i.exponent),
            ]

        # stage 2: shift, but keep the bit below the result; the bias fits its width by contract
        mult_2 = Signal(MULT_BITS + 1)
        bias_2 = Signal(signed(self.spec.bias_bits + 1))
        with m.If(p.load[1]):
            m.d.sync += [
                mult_2.eq(mult >> MANTISSA_FRAC),
                bias_2.eq((bias << 1) >> right),
                shift_2.eq(shift_1),
            ]

        # stage 3: round half up; 65535**2 / 2**16 rounds to 65534, so that 16 bits suffice
        with m.If(p.load[2]):
            m.d.sync += [
                o.mult.eq((mult_2 + 1) >> 1),
                o.bias.eq((bias_2 + 1) >> 1),
                o.shift.eq(shift_2),
            ]
        return m
