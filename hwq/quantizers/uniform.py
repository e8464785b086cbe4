"""Uniform codes: evenly spaced numbers, with or without a zero point."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from hwq.errors import require
from hwq.numerics.fixed_point import dyadic
from hwq.numerics.pe import MULTIPLY
from hwq.numerics.uniform import UniformSpec
from hwq.quantizers.base import Quantizer, check_real, check_whole
from hwq.quantizers.mac_form import MacForm


@dataclass(frozen=True, eq=False)
class Uniform(Quantizer):
    """code = clamp(floor(x / scale + 1/2) + zero_point), standing for scale * (code - zero_point).

    The zero point is an integer, so that there are 2**bits codes and no more: published code
    that adds a fractional one before it clamps makes 2**bits + 1 levels.

    Parameters
    ----------
    scale : float Tensor
        Positive; broadcasts against x: one number, or one per channel, head or token.
    zero_point : integer Tensor
        The code of 0; broadcasts against x.
    bits : int in 2..16
        Width of a code.
    signed : bool
        Codes are -2**(bits-1)..2**(bits-1)-1 or 0..2**bits-1.
    """

    name: ClassVar[str] = "uniform"
    scale: torch.Tensor
    zero_point: torch.Tensor
    bits: int
    signed: bool = False

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 16, f"bits must be in 2..16, not {self.bits}")
        kind = self.zero_point.dtype
        require(
            not (kind.is_floating_point or kind.is_complex),
            f"zero_point must hold integers, not {kind}",
        )

    @classmethod
    def from_range(
        cls, lo: torch.Tensor | float, hi: torch.Tensor | float, bits: int, signed: bool = False
    ) -> "Uniform":
        """Return the quantizer that covers lo..hi, widened to hold 0, with 0 as one of its codes.

        The zero point is rounded, which moves the range by at most half a scale.
        """
        low = torch.as_tensor(lo, dtype=torch.float32).clamp(max=0)
        high = torch.as_tensor(hi, dtype=torch.float32).clamp(min=0)
        scale = _positive((high - low) / ((1 << bits) - 1))
        least = -(1 << (bits - 1)) if signed else 0
        zero_point = (torch.floor(-low / scale + 0.5) + least).to(torch.int32)
        return cls(scale, zero_point, bits, signed)

    @classmethod
    def symmetric(cls, max_abs: torch.Tensor | float, bits: int) -> "Uniform":
        """Return the signed quantizer without zero point whose largest code stands for max_abs."""
        largest = torch.as_tensor(max_abs, dtype=torch.float32)
        scale = _positive(largest / ((1 << (bits - 1)) - 1))
        return cls(scale, torch.zeros_like(scale, dtype=torch.int32), bits, signed=True)

    def with_parameters(self, scale: torch.Tensor, zero_point: torch.Tensor) -> "Uniform":
        """Return the quantizer with the same codes for another scale and zero point."""
        return replace(self, scale=scale, zero_point=zero_point)

    def rescaled(self, factor: torch.Tensor) -> "Uniform":
        """Return the quantizer with the same codes for scales `factor` times as large."""
        return replace(self, scale=self.scale.to(factor.device) * factor)

    @property
    def uniform(self) -> "Uniform":
        """The quantizer itself."""
        return self

    @property
    def lo(self) -> int:
        """The smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """The largest code."""
        return self.lo + (1 << self.bits) - 1

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `SpecError` unless scale and zero point are legal for tensors of this shape."""
        check_real("scale", self.scale, shape)
        check_whole("zero_point", self.zero_point, self.lo, self.hi, shape)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: clamp(floor(x / scale + 1/2) + zero_point)."""
        low, high = self._bounds(x)
        steps = _to_steps(x, self.scale.to(x.device), low, high)
        return steps.to(torch.int32) + self.zero_point.to(x.device, torch.int32)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int[...] -> float[...]: scale * (codes - zero_point)."""
        scale = self.scale.to(codes.device)
        return (codes - self.zero_point.to(codes.device)).to(scale.dtype) * scale

    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), differentiable in x and in scale.

        The gradient to scale is that of learned step size quantization: floor(v + 1/2) - v with
        v = x / scale within the range, the clamped code minus zero_point outside.
        """
        fake: torch.Tensor = _FakeQuantize.apply(x, self.scale.to(x.device), *self._bounds(x))
        return fake

    def mac_form(self) -> MacForm:
        """Return significand = code, no shift, offset = zero_point; needs one zero point."""
        codes = np.arange(1 << self.bits, dtype=np.int64)
        signed = np.where(codes > self.hi, codes - (1 << self.bits), codes)
        points = torch.unique(self.zero_point)
        require(points.numel() == 1, f"one zero_point is needed, not {points.tolist()}")
        scale = self.scale.detach().to(torch.float64).cpu()
        return MacForm(
            pe=MULTIPLY,
            significand=signed,
            shift=np.zeros_like(codes),
            plane=np.zeros_like(codes),
            offset=int(points.item()),
            lsb=float(scale) if scale.numel() == 1 else scale.numpy(),
        )

    def encoder(self, frac: int) -> UniformSpec:
        """Return the unit for `frac` fraction bits; needs one scale and one zero point.

        Equal to `encode` where 2**-frac / scale is a 16-bit dyadic number, a power of two for
        one; otherwise the two differ only within 2**-15 * |x / scale| of a tie, by one code.
        """
        require(self.scale.numel() == 1, f"one scale is needed, not {list(self.scale.shape)}")
        mult, shift = dyadic(2.0**-frac / float(self.scale.detach()))
        return UniformSpec(mult, shift, int(self.zero_point), self.bits, self.signed)

    def _bounds(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the smallest and the largest code - zero_point, as floats."""
        point = self.zero_point.to(x.device, self.scale.dtype)
        return self.lo - point, self.hi - point


class _FakeQuantize(torch.autograd.Function):
    """scale * (code - zero_point), in one node: a third of the time of its single operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor
    ) -> torch.Tensor:
        return _to_steps(x, scale, low, high).mul_(scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, low, high = ctx.saved_tensors
        ratio = x / scale
        inside = (ratio >= low) & (ratio <= high)
        to_scale = None
        if ctx.needs_input_grad[1]:
            slope = _to_steps(x, scale, low, high).sub_(ratio * inside).mul_(grads[0])
            to_scale = _sum_to(slope, scale.shape)
        return grads[0] * inside, to_scale, None, None


def _to_steps(
    x: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> torch.Tensor:
    """Return clamp(floor(x / scale + 1/2), low, high)."""
    # in place where torch.vmap can: most of a fake-quant network's time is the memory traffic here
    return torch.clamp(torch.div(x, scale).add_(0.5).floor_(), low, high)


def _sum_to(x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum over the dimensions along which something of `shape` was broadcast."""
    x = x.sum(tuple(range(x.ndim - len(shape)))) if x.ndim > len(shape) else x
    narrow = tuple(i for i, (n, size) in enumerate(zip(x.shape, shape, strict=True)) if n != size)
    return x.sum(narrow, keepdim=True) if narrow else x


def _positive(scale: torch.Tensor) -> torch.Tensor:
    """Return `scale`, 1 where it is 0: a range of nothing has one code that matters."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))
