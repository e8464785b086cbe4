"""Logarithmic codes of softmax probabilities: powers of two, or of its square root."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from hwq.numerics.log2 import Log2Spec
from hwq.numerics.shift_log2 import FRACTION_BITS, ShiftLog2Spec
from hwq.quantizers.base import Quantizer, lookup, straight_through
from hwq.quantizers.mac_form import MacForm


@dataclass(frozen=True, eq=False)
class Log2(Quantizer):
    """code = round(-log2(x)) - offset for x in [0, 1], standing for 2**-(code + offset).

    x is first rounded to a 16-bit fraction, ties up, at most 65535/65536; from there on the codes
    are the integer unit's own, `hwq.numerics.log2`. The top code stands for 0: numbers that are
    too small for the code or for a shift by max_exponent underflow to it rather than to the last
    level.

    Parameters
    ----------
    bits : int in 2..8
        Width of a code.
    offset : int
        The exponent of code 0.
    max_exponent : int in 0..15
        Largest exponent; what is smaller than its power underflows.
    """

    name: ClassVar[str] = "log2"
    steps_per_octave: ClassVar[int] = 1
    bits: int
    offset: int = 0
    max_exponent: int = 15

    def __post_init__(self) -> None:
        # the unit validates bits, offset and exponent
        _ = self.spec

    @property
    def spec(self) -> Log2Spec:
        """The integer unit that makes the code from a 16-bit fraction."""
        return Log2Spec(
            FRACTION_BITS, self.bits, self.steps_per_octave, self.offset, self.max_exponent
        )

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: the code of the nearest 16-bit fraction."""
        return log2_codes(x, self.spec)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int[...] -> float32[...]: 2**-(code + offset), or 0 for the top code."""
        return lookup(_decode_table(self.spec), codes)

    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), with gradient 1 for x in [0, 1]."""
        value = self.decode(self.encode(x)).to(x.dtype)
        return straight_through(value, torch.clamp(x, 0.0, 1.0))

    def mac_form(self) -> MacForm:
        """Return a barrel shift per code and no multiplier."""
        return MacForm.logarithmic(self.spec)

    def encoder(self, frac: int) -> ShiftLog2Spec:
        """Return the unit for `frac` fraction bits; equal to `encode` on 16-bit inputs."""
        # 2**15 * 2**-(frac - 1) = 2**(16 - frac), exactly
        return ShiftLog2Spec(
            *(0, 1 << 15, frac - 1, self.bits, self.steps_per_octave),
            *(self.offset, self.max_exponent),
        )


def log2_codes(fraction: torch.Tensor, spec: Log2Spec) -> torch.Tensor:
    """float[...] -> int32[...]: `spec`'s code of the nearest 16-bit fraction."""
    return lookup(_code_table(spec), nearest_fraction(fraction))


def nearest_fraction(x: torch.Tensor) -> torch.Tensor:
    """float[...] -> float[...]: clamp(floor(x * 2**16 + 1/2), 0, 65535), without a gradient."""
    wide = torch.floor(x.detach() * 2.0**FRACTION_BITS + 0.5)
    return torch.clamp(wide, 0, (1 << FRACTION_BITS) - 1)


@lru_cache(maxsize=64)
def _decode_table(spec: Log2Spec) -> torch.Tensor:
    """Return what every code of `spec` stands for: float32[2**bits], each exact."""
    form = MacForm.logarithmic(spec)
    return torch.from_numpy(form.lsb * form.value_table()).to(torch.float32)


@lru_cache(maxsize=64)
def _code_table(spec: Log2Spec) -> torch.Tensor:
    """Return the code of every 16-bit fraction: int32[65536]."""
    return torch.from_numpy(spec.compute(np.arange(1 << FRACTION_BITS)).astype(np.int32))
