"""Gateware twin of hwq.numerics.rescale."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.numerics.requantize import MULT_BITS, SHIFT_BITS
from hwq.numerics.rescale import EXPONENTS, MANTISSA_FRAC, RescaleSpec, rescale_bias
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.stimulus import values
from hwq.rtl.wide import carried, part_products, register, shifted_far, shifted_near, total

STAGES = 5


class Rescale(StreamUnit):
    """Multiplier and bias of one channel, each times a factor mantissa * 2**(exponent - 15).

    mult' = (mult*mantissa + 2**15) >> 16, shift' = shift - 1 - exponent,
    bias' = (bias*bias_mantissa + 2**(14-bias_exponent)) >> (15 - bias_exponent).

    Latency 5 cycles; one channel per cycle. Product and shift of the bias take two each.

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
        """Multiply in parts, add them; shift far, shift near; round."""
        return STAGES

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
        """Return the five stages."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, STAGES)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]
        i, o, load = self.i.p, self.o.p, p.load

        # stages 1 and 2: multiply
        mult = register(m, load[0], i.mult * i.mantissa, "mult")
        products = part_products(m, load[0], i.bias, i.bias_mantissa, "product")
        shape = signed(self.spec.bias_bits + MANTISSA_FRAC + 1)
        bias = register(m, load[1], total(products), "bias", shape)

        # stages 3 and 4: shift, but keep the bit below the result; 15 - exponent is in 8..23, and
        # the bias fits its width by contract
        right = Signal(range(MANTISSA_FRAC - EXPONENTS[0] + 1))
        m.d.comb += right.eq(MANTISSA_FRAC - i.bias_exponent)
        distance = carried(m, load[:2], right, "right")
        far = register(m, load[2], shifted_far(bias << 1, distance), "far")
        near = shifted_near(far, register(m, load[2], distance, "right_near"))
        bias_4 = register(m, load[3], near, "bias_4", signed(self.spec.bias_bits + 1))
        mult_4 = carried(m, load[1:4], mult[MANTISSA_FRAC:], "mult_shifted")
        shift = carried(m, load[:4], (i.shift - 1 - i.exponent)[:SHIFT_BITS], "shift")

        # stage 5: round half up; 65535**2 / 2**16 rounds to 65534, so that 16 bits suffice
        with m.If(load[4]):
            m.d.sync += [
                o.mult.eq((mult_4 + 1) >> 1),
                o.bias.eq((bias_4 + 1) >> 1),
                o.shift.eq(shift),
            ]
        return m
