"""Shifted logarithmic codes, for GELU outputs: finer steps towards the minimum."""

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import ClassVar

import torch

from hwq.errors import require
from hwq.numerics.fixed_point import dyadic
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.shift_log2 import FRACTION_BITS, ShiftLog2Spec
from hwq.quantizers.base import Quantizer, check_real, lookup, straight_through
from hwq.quantizers.log2 import log2_codes
from hwq.quantizers.mac_form import MacForm


@dataclass(frozen=True, eq=False)
class ShiftLog2(Quantizer):
    """code = round(-steps * log2((x + distance) / scale)), top code for x = -distance.

    It stands for scale * 2**-(code / steps) - distance, with 181/128 for the square root of two.
    The distance is a static whole number of units of the MAC form's lsb, so what it adds to a
    product is an integer per column and joins the bias. The published code takes the minimum of
    the tensor at hand instead, which depends on the batch and costs a correction at run time; it
    says log2 but steps by the square root of two, as is the default here.

    Parameters
    ----------
    scale : float Tensor
        What code 0 stands for, plus the distance; one positive number.
    zero_point : int in 0..2**22
        The distance in units of the lsb, scale * 2**-E for log2 and scale * 2**-(E+7) for
        log_sqrt2, E being the largest shift.
    bits : int in 2..8
        Width of a code.
    steps_per_octave : {1, 2}
        1 for log2, 2 for log_sqrt2.
    max_exponent : int in 0..15
        Largest exponent; what is smaller than its power underflows.
    """

    name: ClassVar[str] = "shift_log2"
    scale: torch.Tensor
    zero_point: int
    bits: int
    steps_per_octave: int = 2
    max_exponent: int = 15

    def __post_init__(self) -> None:
        # the unit validates bits, steps_per_octave and exponent
        _ = self.spec
        require(self.scale.numel() == 1, f"one scale is needed, not {list(self.scale.shape)}")
        require(
            0 <= self.zero_point <= 1 << 22,
            f"zero_point must be in 0..2**22, not {self.zero_point}",
        )

    @classmethod
    def from_range(
        cls, lo: float, hi: float, bits: int, steps_per_octave: int = 2, max_exponent: int = 15
    ) -> "ShiftLog2":
        """Return the quantizer of lo..hi, lo <= 0 < hi; the distance is -lo, rounded up."""
        require(lo <= 0 < hi, f"lo <= 0 < hi is needed, not {lo}..{hi}")
        scale = torch.tensor(hi - lo, dtype=torch.float32)
        spec = Log2Spec(FRACTION_BITS, bits, steps_per_octave, max_exponent=max_exponent)
        form = MacForm.logarithmic(spec, float(scale))
        return cls(scale, ceil(-lo / float(form.lsb)), bits, steps_per_octave, max_exponent)

    def on_grid(self, frac: int) -> "ShiftLog2":
        """Return a neighbour that integers encode as floats do, but for ties.

        1 / scale becomes a 16-bit dyadic number and the distance the next whole number of 2**-frac
        (of lsbs, where these are not much finer). Half of the codes lie within a few of these:
        there a rounded distance is a large error.
        """
        mult, shift = dyadic(1.0 / float(self.scale.detach()))
        scale = torch.tensor(2.0**shift / mult, dtype=self.scale.dtype)
        lsb, step = float(scale) * self._unit, 2.0**-frac
        distance = self.distance * float(self.scale.detach())
        if 16 * lsb <= step:
            distance = ceil(distance / step - 2.0**-10) * step
        zero_point = min(floor(distance / lsb + 0.5), 1 << 22)
        return replace(self, scale=scale, zero_point=zero_point)

    @property
    def spec(self) -> Log2Spec:
        """The integer unit that makes the code from a 16-bit fraction of `scale`."""
        return Log2Spec(
            FRACTION_BITS, self.bits, self.steps_per_octave, max_exponent=self.max_exponent
        )

    @property
    def distance(self) -> float:
        """What is added to x, as a fraction of `scale`."""
        return self.zero_point * self._unit

    @property
    def _unit(self) -> float:
        """The lsb as a fraction of `scale`, a power of two."""
        return float(MacForm.logarithmic(self.spec).lsb)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `SpecError` unless the scale is legal."""
        check_real("scale", self.scale)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: the code of (x + distance) / scale as a 16-bit fraction."""
        return log2_codes(x / self.scale + self.distance, self.spec)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int[...] -> float[...]: lsb * (V - zero_point), V the integer value of the code."""
        return self._steps(codes) * (self.scale * self._unit)

    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), differentiable in x and in scale."""
        held = torch.clamp(x / self.scale, -self.distance, 1.0 - self.distance) / self._unit
        return straight_through(self._steps(self.encode(x)), held) * (self.scale * self._unit)

    def mac_form(self) -> MacForm:
        """Return the form of the log codes with the distance as its offset."""
        return MacForm.logarithmic(self.spec, float(self.scale.detach()), self.zero_point)

    def encoder(self, frac: int) -> ShiftLog2Spec:
        """Return the unit for `frac` fraction bits.

        Equal to `encode` where the scale is a power of two and the distance a multiple of
        2**-frac; otherwise the two differ only by codes next to each other.
        """
        scale = float(self.scale.detach())
        shift_add = int(self.distance * scale * 2.0**frac + 0.5)
        mult, shift = dyadic(2.0 ** (FRACTION_BITS - frac) / scale)
        return ShiftLog2Spec(
            *(shift_add, mult, shift, self.bits, self.steps_per_octave),
            max_exponent=self.max_exponent,
        )

    def _steps(self, codes: torch.Tensor) -> torch.Tensor:
        """Return V - zero_point of every code, exact in float32: it is below 2**23."""
        steps = MacForm.logarithmic(self.spec).value_table() - self.zero_point
        return lookup(torch.from_numpy(steps).to(self.scale.dtype), codes)
