"""Learned rounding of weights."""

import torch
from torch import Tensor

from hwq.quantizers.uniform import Uniform

_HIGH, _LOW = 1.1, -0.1


class LearnedRounding:
    """Chooses for every weight whether it is rounded down or up (AdaRound, Nagel et al. 2020).

    w = scale * clamp(floor(W / scale) + h(alpha), lo, hi), h = clamp(sigmoid(alpha) * 1.2 - 0.1,
    0, 1), equation 22 and 23 of arXiv 2004.10568; alpha starts where h is the fractional part, so
    that w starts as W.

    Parameters
    ----------
    weight : float[N, K]
        W.
    quantizer : Uniform
        Symmetric, one scale per row; it stays.
    """

    def __init__(self, weight: Tensor, quantizer: Uniform) -> None:
        self.quantizer = quantizer
        self.scale = quantizer.scale.to(weight.device)
        self.floor = torch.floor(weight / self.scale)
        part = (weight / self.scale - self.floor).clamp(0.01, 0.99)
        self.alpha = torch.logit((part - _LOW) / (_HIGH - _LOW)).requires_grad_()

    def share(self) -> Tensor:
        """Return h, float[N, K] in 0..1: how far every weight is rounded up."""
        return (torch.sigmoid(self.alpha) * (_HIGH - _LOW) + _LOW).clamp(0, 1)

    def soft(self) -> Tensor:
        """Return the weights while they are learned, float[N, K]."""
        return self._weights(self.share())

    def hard(self) -> Tensor:
        """Return the weights as codes allow, float[N, K]."""
        return self._weights((self.alpha.detach() >= 0).to(self.scale.dtype))

    def indecision(self, sharpness: float) -> Tensor:
        """Return sum(1 - |2h - 1|^sharpness): 0 when every weight is wholly up or down."""
        return (1 - (2 * self.share() - 1).abs().pow(sharpness)).sum()

    def _weights(self, share: Tensor) -> Tensor:
        codes = torch.clamp(self.floor + share, self.quantizer.lo, self.quantizer.hi)
        return codes * self.scale
