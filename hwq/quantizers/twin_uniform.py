"""Twin uniform codes: a fine and a coarse range in one code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from hwq.errors import require
from hwq.numerics.fixed_point import dyadic
from hwq.numerics.pe import MULTIPLY_SHIFT
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.quantizers.base import Quantizer, check_real, lookup, straight_through
from hwq.quantizers.mac_form import MacForm

GELU_MIN = -0.16997124254703522


@dataclass(frozen=True, eq=False)
class TwinUniform(Quantizer):
    """code = flag << (bits-1) | magnitude; see `hwq.numerics.twin_uniform` for the two forms.

    A number is quantised in one range only, and the coarse scale is 2**m times the fine one by
    construction. The published code adds both ranges' results, lets the coarse scale of GELU
    take any value, and exports codes that cannot be told apart.

    Parameters
    ----------
    scale : float Tensor
        Scale of the fine range; one positive number.
    m : int
        Distance of the ranges; 0 <= m, (2**(bits-1)-1) << m <= 2**15.
    bits : int in 2..8
        Width of a code, flag included.
    form : {"softmax", "gelu"}
        Ranges selected by magnitude or by sign.
    """

    name: ClassVar[str] = "twin_uniform"
    scale: torch.Tensor
    m: int
    bits: int
    form: str = "softmax"

    def __post_init__(self) -> None:
        # the unit validates m, bits and form
        TwinUniformSpec(1, 1, self.m, self.bits, self.form)
        require(self.scale.numel() == 1, f"one scale is needed, not {list(self.scale.shape)}")

    @classmethod
    def softmax(cls, bits: int, m: int) -> "TwinUniform":
        """Return the quantizer of [0, 1]: the coarse scale is 2**-(bits-1), the fine 2**-m of it.

        Both are powers of two, so the integer unit only shifts. 1 takes the code of
        1 - 2**-(bits-1).
        """
        return cls(torch.tensor(2.0 ** -(bits - 1 + m)), m, bits, "softmax")

    @classmethod
    def gelu(cls, max_value: float, bits: int, m: int, least: float = GELU_MIN) -> "TwinUniform":
        """Return the quantizer of GELU outputs in least..max_value, whose negatives never clip.

        The coarse range reaches max_value; the fine scale is 2**-m of the coarse one, or larger
        where the least value needs it: the coarse range then reaches further.
        """
        top = (1 << (bits - 1)) - 1
        scale = max(max_value / (top << m), -least / top)
        return cls(torch.tensor(scale, dtype=torch.float32), m, bits, "gelu")

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `SpecError` unless the scale is legal."""
        check_real("scale", self.scale)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: the range of every number, then its magnitude in it."""
        v = (x / self.scale).detach()
        fine = torch.floor(v + 0.5)
        coarse = torch.floor(v * 2.0**-self.m + 0.5)
        top = (1 << (self.bits - 1)) - 1
        if self.form == "gelu":
            flag = v >= 0
            fine = -fine
        else:
            flag = (fine > top) & (coarse > 0)
        magnitude = torch.clamp(torch.where(flag, coarse, fine), 0, top).to(torch.int32)
        return magnitude + flag.to(torch.int32) * (top + 1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int[...] -> float[...]: scale times the integer value of the code."""
        return self._value(codes) * self.scale

    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), differentiable in x and in scale."""
        values = self._tables()
        held = torch.clamp(x / self.scale, float(values.min()), float(values.max()))
        return straight_through(self._value(self.encode(x)), held) * self.scale

    def facts(self) -> Mapping[str, Any]:
        """Return what the codes are for, and the distance of their ranges."""
        return {"form": self.form, "m": self.m}

    def mac_form(self) -> MacForm:
        """Return significand = +-magnitude and a shift by m where the flag is set."""
        codes = np.arange(1 << self.bits, dtype=np.int64)
        flag, magnitude = codes >> (self.bits - 1), codes & ((1 << (self.bits - 1)) - 1)
        negative = (flag == 0) & (self.form == "gelu")
        return MacForm(
            pe=MULTIPLY_SHIFT,
            significand=np.where(negative, -magnitude, magnitude),
            shift=self.m * flag,
            plane=np.zeros_like(codes),
            lsb=float(self.scale.detach()),
        )

    def encoder(self, frac: int) -> TwinUniformSpec:
        """Return the unit for `frac` fraction bits.

        Equal to `encode` where 2**-frac / scale is a 16-bit dyadic number, as for `softmax`;
        otherwise the two differ only within 2**-15 * |x / scale| of a tie, by one step.
        """
        mult, shift = dyadic(2.0**-frac / float(self.scale.detach()))
        return TwinUniformSpec(mult, shift, self.m, self.bits, self.form)

    def _value(self, codes: torch.Tensor) -> torch.Tensor:
        return lookup(self._tables().to(self.scale.dtype), codes)

    def _tables(self) -> torch.Tensor:
        """Return the integer value of every code as float64[2**bits]; independent of the scale."""
        top = 1 << (self.bits - 1)
        magnitude = torch.arange(top, dtype=torch.float64)
        fine = -magnitude if self.form == "gelu" else magnitude
        return torch.cat([fine, magnitude * 2.0**self.m])
