"""Reals of a tensor as its integers, and back."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.base import Quantizer


def to_real(codes: NDArray[Any], quant: FixedPoint | Quantizer) -> NDArray[np.float64]:
    """int[...] -> float64[...]: what integers stand for."""
    if isinstance(quant, FixedPoint):
        return quant.to_float(codes)
    return to_double(quant.decode(torch.from_numpy(codes.astype(np.int64))))


def to_double(x: Tensor) -> NDArray[np.float64]:
    """float[...] -> float64[...]: a torch tensor as an array."""
    result: NDArray[np.float64] = x.detach().cpu().double().numpy()
    return result


def decibel(signal: float, noise: float) -> float:
    """10 log10 of the ratio of two powers; infinite without noise."""
    if noise == 0.0:
        return float("inf")
    return float(10 * np.log10(max(signal, 1e-300) / noise))
