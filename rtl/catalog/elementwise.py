# amaranth: UnusedElaboratable=no
"""Units of one value in, one value out."""

from collections.abc import Mapping

from hwq.numerics.activation import FUNCTIONS, ActivationSpec
from hwq.numerics.exp2 import Exp2Spec
from hwq.numerics.horner import HornerSpec
from hwq.numerics.log2 import Log2Spec
from hwq.rtl.activation import Activation
from hwq.rtl.catalog.base import Twin
from hwq.rtl.exp2 import Exp2
from hwq.rtl.horner import Horner
from hwq.rtl.log2 import Log2

ELEMENTWISE: Mapping[str, Twin] = {
    "log2": Twin(
        Log2(Log2Spec()),
        {
            **{f"base2_bits{b}": Log2(Log2Spec(bits=b)) for b in (3, 4, 8)},
            **{f"sqrt2_bits{b}": Log2(Log2Spec(bits=b, steps_per_octave=2)) for b in (3, 4, 8)},
            "offset": Log2(Log2Spec(bits=4, steps_per_octave=2, offset=7)),
            "narrow": Log2(Log2Spec(in_bits=9, bits=6, offset=2, max_exponent=7)),
        },
    ),
    "horner": Twin(
        Horner(HornerSpec((1411, 3960, 4096))),
        {
            "degree1": Horner(HornerSpec((-5003, 1201))),
            "degree2": Horner(HornerSpec((1411, 3960, 4096))),
            "degree3": Horner(HornerSpec((-350, 2048, 5000, -1200))),
            "bits8": Horner(HornerSpec((3, -40, 100), bits=8, frac=5)),
        },
    ),
    "exp2": Twin(
        Exp2(Exp2Spec()),
        {"q4_12": Exp2(Exp2Spec()), "narrow": Exp2(Exp2Spec(in_bits=14, frac=10, mantissa_bits=8))},
    ),
    "activation": Twin(
        Activation(ActivationSpec()),
        {
            **{
                f"{function}_frac{frac}": Activation(ActivationSpec(function, frac))
                for function in FUNCTIONS
                for frac in (8, 12)
            },
            **{
                f"gelu_frac{frac}": Activation(ActivationSpec("gelu", frac)) for frac in (9, 10, 11)
            },
            "gelu_bits20": Activation(ActivationSpec("gelu", 12, 20)),
            "gelu_narrow": Activation(ActivationSpec("gelu", 8, 9)),
            "sigmoid_narrow": Activation(ActivationSpec("sigmoid", 8, 9)),
        },
    ),
}
"""Stem -> row."""
