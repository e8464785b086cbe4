# amaranth: UnusedElaboratable=no
"""Units that make codes: of accumulators, and of fixed-point numbers."""

from collections.abc import Mapping
from dataclasses import replace

from amaranth.hdl import unsigned

from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.shift_uniform_log2 import ShiftUniformLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.numerics.uniform import UniformSpec
from hwq.rtl.catalog.base import Twin
from hwq.rtl.requantize import Requantize
from hwq.rtl.shift_log2 import ShiftLog2
from hwq.rtl.shift_uniform_log2 import ShiftUniformLog2
from hwq.rtl.twin_uniform import TwinUniform
from hwq.rtl.uniform import FIXED16, Uniform

_REQUANTIZE = RequantizeSpec(mult=41943, shift=24, zero_point=113)
_UNIFORM = UniformSpec(mult=38471, shift=23, zero_point=-5, bits=8, signed=True)
_PROBABILITY = unsigned(16)
_SOFTMAX = TwinUniformSpec(mult=32768, shift=25, m=3, bits=6)
_GELU = TwinUniformSpec(mult=45875, shift=20, m=5, bits=8, form="gelu")
# softmax probabilities as they are; GELU outputs of 13 fraction bits, -0.17 moved to zero
_ROWS = ShiftLog2Spec(shift_add=0, mult=32768, shift=15, bits=4, steps_per_octave=1)
_PARABOLA = ShiftLog2Spec(shift_add=1393, mult=42480, shift=15, bits=4, steps_per_octave=2)

QUANTIZERS: Mapping[str, Twin] = {
    "requantize": Twin(
        Requantize(_REQUANTIZE),
        {
            "acc32": Requantize(_REQUANTIZE),
            "acc16": Requantize(RequantizeSpec(45001, 23, -19, 6, signed=True), acc_bits=16),
            "acc46": Requantize(RequantizeSpec(65535, 53, 0, 8, signed=True), acc_bits=46),
            "shift1": Requantize(RequantizeSpec(1, 1, 3, 31, signed=True)),
            "shift62": Requantize(RequantizeSpec(65535, 62, -2, 4, signed=True), acc_bits=46),
            "zero": Requantize(RequantizeSpec(0, 17, -7, 4, signed=True), acc_bits=16),
            "one_bit": Requantize(RequantizeSpec(9, 14, 0, 1), acc_bits=16),
            "far_zero_point": Requantize(RequantizeSpec(32768, 14, -(1 << 31), 8, signed=True)),
        },
        constant={
            "shift62": "an accumulator of 46 bits times 65535 is below half of 2**62",
            "zero": "a multiplier of 0 leaves the zero point",
        },
    ),
    "uniform": Twin(
        Uniform(_UNIFORM),
        {
            "signed": Uniform(_UNIFORM),
            "unsigned": Uniform(UniformSpec(52429, 23, 121, bits=8)),
            "bits16": Uniform(UniformSpec(65535, 14, 300, bits=16, signed=True)),
            "fractions": Uniform(UniformSpec(61166, 28, 0, bits=4), x=_PROBABILITY),
        },
    ),
    "twin_uniform": Twin(
        TwinUniform(_SOFTMAX, _PROBABILITY),
        {
            "softmax": TwinUniform(_SOFTMAX, _PROBABILITY),
            "softmax_signed": TwinUniform(TwinUniformSpec(40000, 22, 4, bits=4)),
            "softmax_gap": TwinUniform(TwinUniformSpec(51234, 24, 6, bits=4), _PROBABILITY),
            "softmax_one_range": TwinUniform(TwinUniformSpec(65535, 25, 0, bits=8), _PROBABILITY),
            "gelu": TwinUniform(_GELU),
            "gelu_bits3": TwinUniform(TwinUniformSpec(65535, 25, 2, bits=3, form="gelu")),
            "gelu_shifts_out": TwinUniform(TwinUniformSpec(65535, 31, 8, bits=8, form="gelu")),
            "bits2": TwinUniform(TwinUniformSpec(1, 1, 15, bits=2)),
        },
    ),
    "shift_log2": Twin(
        ShiftLog2(_PARABOLA),
        {
            "gelu": ShiftLog2(_PARABOLA),
            "gelu_base2": ShiftLog2(replace(_PARABOLA, bits=3, steps_per_octave=1)),
            "offset": ShiftLog2(replace(_PARABOLA, bits=4, offset=3)),
            "softmax": ShiftLog2(_ROWS, _PROBABILITY),
            "softmax_sqrt2": ShiftLog2(replace(_ROWS, bits=5, steps_per_octave=2), _PROBABILITY),
            "deep": ShiftLog2(
                ShiftLog2Spec(-4097, 65535, 15, bits=8, steps_per_octave=2, max_exponent=12)
            ),
            "lowered": ShiftLog2(ShiftLog2Spec(-4097, 65535, 15, bits=8, steps_per_octave=2)),
        },
    ),
    "shift_uniform_log2": Twin(
        ShiftUniformLog2(ShiftUniformLog2Spec(eta_exponent=10)),
        {
            "eta10": ShiftUniformLog2(ShiftUniformLog2Spec(10)),
            "eta7_bits3": ShiftUniformLog2(ShiftUniformLog2Spec(7, bits=3)),
            "eta15_offset": ShiftUniformLog2(ShiftUniformLog2Spec(15, bits=3, offset=8)),
            "eta1": ShiftUniformLog2(ShiftUniformLog2Spec(1, bits=2)),
            "signed": ShiftUniformLog2(ShiftUniformLog2Spec(9, frac=14), FIXED16),
            "coarse": ShiftUniformLog2(ShiftUniformLog2Spec(12, frac=5), FIXED16),
        },
    ),
}
"""Stem -> row."""
