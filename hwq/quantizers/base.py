"""What every quantizer can do."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hwq.quantizers.mac_form import MacForm


class Encoder(Protocol):
    """A numerics spec that makes codes from fixed-point integers."""

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements."""
        ...

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements, slowly."""
        ...


class Quantizer(ABC):
    """A map from real numbers to at most 2**bits codes, and back.

    Subclasses are frozen dataclasses. Everything but `mac_form` and `encoder` is made of torch
    operations on whole tensors without branches on values, so that it runs under `torch.vmap`.

    Attributes
    ----------
    name : str
        Key in `hwq.quantizers.catalog`.
    bits : int
        Width of a code.
    """

    name: ClassVar[str]
    bits: int

    @abstractmethod
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: the codes of x."""

    @abstractmethod
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int[...] -> float[...]: what the codes stand for."""

    @abstractmethod
    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), with straight-through gradients.

        The gradient to x is 1 where x is within the range of the quantizer and 0 outside.
        """

    @abstractmethod
    def mac_form(self) -> MacForm:
        """Return how the array consumes the codes."""

    @abstractmethod
    def encoder(self, frac: int) -> Encoder:
        """Return the integer unit that encodes fixed-point numbers with `frac` fraction bits."""


def half_up(x: torch.Tensor) -> torch.Tensor:
    """float[...] -> float[...]: the nearest whole number, ties up; straight-through gradient."""
    return straight_through(torch.floor(x + 0.5), x)


def straight_through(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return `value`, bit for bit, with the gradient of `x`; both finite and of one shape."""
    return value.detach() + (x - x.detach())


def lookup(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return table[index]; four times as fast as indexing."""
    found = table.to(index.device).index_select(0, index.to(torch.int32).reshape(-1))
    return found.reshape(index.shape)
