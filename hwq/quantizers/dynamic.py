"""Uniform codes whose scale is corrected for every image."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from hwq.errors import require
from hwq.numerics.uniform import UniformSpec
from hwq.quantizers.base import Quantizer
from hwq.quantizers.mac_form import MacForm
from hwq.quantizers.uniform import Uniform


@dataclass(frozen=True, eq=False)
class Dynamic(Quantizer):
    """`base` with scale * 2**log2_correction; the zero point stays.

    The correction is a number per image that a scale predictor makes from the first layers'
    ranges. Left out, it is 0 and the codes are those of `base`.

    Parameters
    ----------
    base : Uniform
        The static quantizer.
    index : int
        Which of the predictor's corrections is meant.
    """

    name: ClassVar[str] = "dynamic"
    base: Uniform
    index: int
    bits: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", self.base.bits)

    @property
    def uniform(self) -> Uniform:
        """The static quantizer."""
        return self.base

    @property
    def correction(self) -> int:
        """Which of the predictor's corrections is meant."""
        return self.index

    @property
    def signed(self) -> bool:
        """Whether the codes are two's complement."""
        return self.base.signed

    @property
    def scale(self) -> torch.Tensor:
        """The scale that is corrected."""
        return self.base.scale

    @property
    def zero_point(self) -> torch.Tensor:
        """The code of 0."""
        return self.base.zero_point

    def with_parameters(self, scale: torch.Tensor, zero_point: torch.Tensor) -> "Dynamic":
        """Return the quantizer with the same codes for another scale and zero point."""
        return replace(self, base=self.base.with_parameters(scale, zero_point))

    def corrected(self, log2_correction: torch.Tensor | None) -> Uniform:
        """Return the static quantizer of an image whose correction is a tensor of one number."""
        if log2_correction is None:
            return self.base
        scale = self.base.scale.to(log2_correction.device) * torch.exp2(log2_correction)
        return replace(self.base, scale=scale)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `SpecError` unless `base` is legal for tensors of this shape."""
        require(self.index >= 0, f"index must not be negative, not {self.index}")
        self.base.check(shape)

    def encode(self, x: torch.Tensor, log2_correction: torch.Tensor | None = None) -> torch.Tensor:
        """float[...] -> int32[...]: the corrected quantizer's codes."""
        return self.corrected(log2_correction).encode(x)

    def decode(
        self, codes: torch.Tensor, log2_correction: torch.Tensor | None = None
    ) -> torch.Tensor:
        """int[...] -> float[...]: scale * 2**log2_correction * (codes - zero_point)."""
        return self.corrected(log2_correction).decode(codes)

    def fake_quantize(
        self, x: torch.Tensor, log2_correction: torch.Tensor | None = None
    ) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), differentiable in x and the correction."""
        return self.corrected(log2_correction).fake_quantize(x)

    def mac_form(self) -> MacForm:
        """Return the form of `base`; a correction changes the lsb and nothing else."""
        return self.base.mac_form()

    def encoder(self, frac: int) -> UniformSpec:
        """Return the unit of `base`; an image's correction replaces its mult and shift."""
        return self.base.encoder(frac)
