"""Codes of softmax probabilities after I&S-ViT: powers of two, moved down by a power of two."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from hwq.numerics.pe import SHIFT
from hwq.numerics.shift_log2 import FRACTION_BITS
from hwq.numerics.shift_uniform_log2 import ShiftUniformLog2Spec
from hwq.quantizers.base import Quantizer, lookup, straight_through
from hwq.quantizers.log2 import nearest_fraction
from hwq.quantizers.mac_form import MacForm


@dataclass(frozen=True, eq=False)
class ShiftUniformLog2(Quantizer):
    """code = max(round(-log2(x + eta)) - offset, 0) for x in [0, 1] and eta = 2**-eta_exponent.

    It stands for 2**-(code + offset) - eta, so x = 0 takes the largest code that exists,
    eta_exponent - offset, and decodes to exactly 0. x is first rounded to a 16-bit fraction, as
    by `Log2`; from there on the codes are the integer unit's own,
    `hwq.numerics.shift_uniform_log2`. Nothing underflows: eta bounds the exponents.

    Source: I&S-ViT, arXiv 2311.10126, equations 13 and 14. The paper quantises log2(x + eta)
    uniformly and rounds the decoded exponent to an integer, so that its 2**bits codes have only
    as many values as there are integer exponents: 11 for its smallest eta, 0.001. Here the
    exponent is what is stored. The uniform step in the log domain disappears with that, and so
    does trap T9: the released code calibrates with 2**bits - 1 steps, runs with 2**bits, and then
    has 2**bits + 1 codes. The published eta is any number, for which exact zeros decode to
    2**round(log2(eta)) - eta: at eta = 0.01 that is -0.0022 on every tail of a softmax row.

    Parameters
    ----------
    bits : int in 2..8
        Width of a code; eta_exponent - offset <= 2**bits - 1.
    eta_exponent : int in 1..15
        eta is 2**-eta_exponent.
    offset : int in 0..eta_exponent-1
        The exponent of code 0, whose value is the largest.
    """

    name: ClassVar[str] = "shift_uniform_log2"
    bits: int
    eta_exponent: int
    offset: int = 0

    def __post_init__(self) -> None:
        # the unit validates all three
        self.encoder(FRACTION_BITS)

    @classmethod
    def candidates(cls, bits: int, max_exponent: int = 15) -> list[tuple[int, int]]:
        """Return (eta_exponent, offset) of the quantizers worth trying: 15 pairs, eta falling.

        eta is the resolution next to zero; what it leaves of the codes reaches up to
        2**-offset - eta. So every eta takes the smallest offset that its bits, and a shift by
        `max_exponent`, allow: a larger one only takes levels away at the top. (The published eta
        lie in 2**-10..1.)
        """
        longest = min((1 << bits) - 1, max_exponent)
        return [(j, max(j - longest, 0)) for j in range(1, 16)]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: the code of the nearest 16-bit fraction."""
        return lookup(_code_table(self.encoder(FRACTION_BITS)), nearest_fraction(x))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int[...] -> float32[...]: 2**-(code + offset) - eta, or 0 for codes never made."""
        return lookup(_decode_table(self.encoder(FRACTION_BITS)), codes)

    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), with gradient 1 for x in [0, 1]."""
        value = self.decode(self.encode(x)).to(x.dtype)
        return straight_through(value, torch.clamp(x, 0.0, 1.0))

    def mac_form(self) -> MacForm:
        """Return a barrel shift per code, no multiplier, and an offset of one lsb for eta.

        With lsb = eta the value is lsb * (V - 1), V = 1 << (eta_exponent - offset - code): the
        epilogue subtracts one sum over the columns of the other operand, the same for every row
        and without a multiplier. Codes above eta_exponent - offset are never made; they have
        the entry of zero, V = 1, so that the element needs no flag besides the shift.
        """
        return _mac_form(self.encoder(FRACTION_BITS))

    def encoder(self, frac: int) -> ShiftUniformLog2Spec:
        """Return the unit for `frac` fraction bits; equal to `encode` on 16-bit inputs."""
        return ShiftUniformLog2Spec(self.eta_exponent, self.bits, self.offset, frac)


def _mac_form(spec: ShiftUniformLog2Spec) -> MacForm:
    code = np.arange(1 << spec.bits, dtype=np.int64)
    return MacForm(
        pe=SHIFT,
        significand=np.ones_like(code),
        shift=np.maximum(spec.zero_code - code, 0),
        plane=np.zeros_like(code),
        offset=1,
        lsb=2.0**-spec.eta_exponent,
    )


@lru_cache(maxsize=64)
def _decode_table(spec: ShiftUniformLog2Spec) -> torch.Tensor:
    """Return what every code of `spec` stands for: float32[2**bits], each exact."""
    form = _mac_form(spec)
    return torch.from_numpy(form.lsb * (form.value_table() - form.offset)).to(torch.float32)


@lru_cache(maxsize=64)
def _code_table(spec: ShiftUniformLog2Spec) -> torch.Tensor:
    """Return the code of every 16-bit fraction: int32[65536]."""
    codes, _ = spec.compute(np.arange(1 << FRACTION_BITS))
    return torch.from_numpy(codes.astype(np.int32))
