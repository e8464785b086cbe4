"""Units that make codes: of accumulators, and of fixed-point numbers."""

from collections.abc import Mapping

from amaranth.hdl import unsigned

from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.uniform import UniformSpec
from hwq.rtl.catalog.base import Unit
from hwq.rtl.requantize import Requantize
from hwq.rtl.uniform import Uniform

_REQUANTIZE = RequantizeSpec(mult=41943, shift=24, zero_point=113)
_UNIFORM = UniformSpec(mult=38471, shift=23, zero_point=-5, bits=8, signed=True)

QUANTIZERS: Mapping[str, Unit] = {
    "requantize": Unit(
        Requantize(_REQUANTIZE),
        {
            "acc32": Requantize(_REQUANTIZE),
            "acc16": Requantize(RequantizeSpec(45001, 23, -19, 6, signed=True), acc_bits=16),
            "acc46": Requantize(RequantizeSpec(65535, 53, 0, 8, signed=True), acc_bits=46),
            "shift1": Requantize(RequantizeSpec(1, 1, 3, 31, signed=True)),
            "shift62": Requantize(RequantizeSpec(65535, 62, -2, 4, signed=True), acc_bits=46),
            "zero": Requantize(RequantizeSpec(0, 17, -7, 4, signed=True), acc_bits=16),
            "one_bit": Requantize(RequantizeSpec(9, 14, 0, 1), acc_bits=16),
            "far_zero_point": Requantize(RequantizeSpec(40000, 20, -(1 << 31), 8, signed=True)),
        },
    ),
    "uniform": Unit(
        Uniform(_UNIFORM),
        {
            "signed": Uniform(_UNIFORM),
            "unsigned": Uniform(UniformSpec(52429, 27, 121, bits=4)),
            "bits16": Uniform(UniformSpec(65535, 14, 300, bits=16, signed=True)),
            "fractions": Uniform(UniformSpec(61166, 28, 0, bits=4), x=unsigned(16)),
        },
    ),
}
"""Stem -> row."""
