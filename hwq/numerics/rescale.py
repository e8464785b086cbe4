"""Rescale: a dyadic multiplier and a bias take one more factor, known only with the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.requantize import ACC_BITS, MULT_BITS
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.unit import Unit, UnitTiming

Int = NDArray[np.int64]
MANTISSA_FRAC = 15
EXPONENTS = (-8, 7)
"""Least and most: a correction of Q4.12 is within 8 octaves."""


def rescale_mult(
    mult: Int, shift: Int, mantissa: int | Int, exponent: int | Int
) -> tuple[Int, Int]:
    """(mult, shift) times mantissa * 2**(exponent - 15): a 16-bit mult again, ties up.

    mult' = (mult*mantissa + 2**15) >> 16 and shift' = shift - 1 - exponent; the value loses at
    most one bit of relative precision.
    """
    # mult, mantissa < 2**16: the product is below 2**32
    return half_up_shift(mult * mantissa, MANTISSA_FRAC + 1), shift - 1 - exponent


def rescale_bias(bias: Int, mantissa: int | Int, exponent: int | Int) -> Int:
    """bias * mantissa * 2**(exponent - 15), rounded half up; |bias| < 2**46."""
    # below 2**62, and the rounding term is at most 2**22
    return half_up_shift(bias * mantissa, MANTISSA_FRAC - exponent)


def rescale_reference(operands: Int, spec: "RescaleSpec") -> Int:
    """int64[n, 7] -> int64[n, 3]: `RescaleSpec`'s, in Python integers."""
    spec.check(operands)
    rows = [
        (
            half_up_shift(mult * mantissa, MANTISSA_FRAC + 1),
            shift - 1 - exponent,
            half_up_shift(bias * bias_mantissa, MANTISSA_FRAC - bias_exponent),
        )
        for mult, shift, mantissa, exponent, bias, bias_mantissa, bias_exponent in operands.tolist()
    ]
    return spec.checked(np.array(rows, np.int64).reshape(-1, 3))


@dataclass(frozen=True, slots=True)
class RescaleSpec:
    """Multiplier and bias of one channel, each times a factor mantissa * 2**(exponent - 15).

    mult'  = (mult*mantissa + 2**15) >> 16
    shift' = shift - 1 - exponent
    bias'  = (bias*bias_mantissa + 2**(14-bias_exponent)) >> (15 - bias_exponent)

    Ties go up. The bias takes the inverse of the multiplier's factor, or none, which is (2**15, 0);
    see `hwq.numerics.epilogue.Factor`. Neither shift' nor bias' saturates: operands for which
    shift' leaves 1..62 or bias' leaves bias_bits are errors.

    Parameters
    ----------
    bias_bits : int in 2..46
        Width of the bias, with its sign.
    """

    bias_bits: int = ACC_BITS

    def __post_init__(self) -> None:
        require(
            2 <= self.bias_bits <= ACC_BITS,
            f"bias_bits must be in 2..{ACC_BITS}, not {self.bias_bits}",
        )

    @property
    def fields(self) -> dict[str, tuple[int, int]]:
        """Least and most of every operand."""
        half = 1 << (self.bias_bits - 1)
        mantissa = (0, (1 << (MANTISSA_FRAC + 1)) - 1)
        return {
            "mult": (0, (1 << MULT_BITS) - 1),
            "shift": (1, 62),
            "mantissa": mantissa,
            "exponent": EXPONENTS,
            "bias": (-half, half - 1),
            "bias_mantissa": mantissa,
            "bias_exponent": EXPONENTS,
        }

    def compute(self, operands: Int) -> Int:
        """int64[n, 7], columns as `fields` -> int64[n, 3] mult, shift, bias."""
        self.check(operands)
        mult, shift, mantissa, exponent, bias, bias_mantissa, bias_exponent = operands.T
        scaled = rescale_mult(mult, shift, mantissa, exponent)
        new_bias = rescale_bias(bias, bias_mantissa, bias_exponent)
        return self.checked(np.stack([*scaled, new_bias], axis=-1))

    def reference(self, operands: Int) -> Int:
        """int64[n, 7] -> int64[n, 3], slowly."""
        return rescale_reference(operands, self)

    def check(self, operands: Int) -> None:
        """Raise SpecError unless every operand is in its range."""
        names = tuple(self.fields)
        require(
            operands.ndim == 2 and operands.shape[1] == len(names),
            f"operands must be [n, {len(names)}], not {list(operands.shape)}",
        )
        self._hold(operands, names)

    def checked(self, results: Int) -> Int:
        """Return results [n, 3]; raise SpecError where one left its range."""
        self._hold(results, ("mult", "shift", "bias"))
        return results

    def _hold(self, columns: Int, names: tuple[str, ...]) -> None:
        for name, column in zip(names, columns.T, strict=True):
            least, most = self.fields[name]
            for value in column[(column < least) | (column > most)][:1].tolist():
                require(False, f"{name} must be in {least}..{most}, not {value}")


def timing() -> UnitTiming:
    """Item: `lanes` multipliers and biases. Multiply and shift in two each; round."""
    return UnitTiming(latency_cycles=5, interval_cycles=1)


UNIT = Unit(
    "rescale",
    RescaleSpec,
    timing,
    ops=("rescale",),
    work=(("int_multiply", 32, 16, 1), ("int_add", 32, 32, 1), ("shift", 32, 32, 1)),
    cut="columns",
)
