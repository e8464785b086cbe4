"""What every quantizer can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.outlier_join import OutlierJoinSpec
from hwq.quantizers.mac_form import MacForm

if TYPE_CHECKING:
    from hwq.quantizers.uniform import Uniform

SMALLEST = 2.0**-100
"""Smallest scale; the largest is its reciprocal."""


class Encoder(Protocol):
    """A numerics spec that makes codes from fixed-point integers."""

    def compute(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements."""
        ...

    def reference(self, x: NDArray[np.integer]) -> tuple[NDArray[np.integer], int]:
        """int[...] -> codes int[...], number of saturated elements, slowly."""
        ...


@runtime_checkable
class Rescalable(Protocol):
    """A quantizer whose scales a method may learn."""

    def rescaled(self, factor: torch.Tensor) -> "Quantizer":
        """Return the quantizer with the same codes for scales `factor` times as large."""
        ...

    def fake_quantize(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> float[...]: decode(encode(x)), with straight-through gradients."""
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

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `SpecError` unless all parameters are legal for tensors of this shape.

        What the constructor cannot do under `torch.vmap`: it looks at values. The field, the value
        and the bound are named. By default all tensors must be finite.
        """
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                require(bool(value.isfinite().all()), f"{name} must be finite")

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

    @property
    def uniform(self) -> "Uniform | None":
        """What makes the codes before an image corrects their scale; None if not uniform."""
        return None

    @property
    def correction(self) -> int | None:
        """Which predicted correction the scale is multiplied by; None for a static scale."""
        return None

    def corrected(self, log2_correction: torch.Tensor | None) -> "Quantizer":
        """Return the quantizer of one image, whose correction is a tensor of one number."""
        return self

    @property
    def side(self) -> "Uniform | None":
        """What the values are quantised by that codes leave out; None where there are none."""
        return None

    def outliers(self, x: torch.Tensor) -> torch.Tensor:
        """float[...] -> int32[...]: what codes leave out, in units of `side`; 0 elsewhere."""
        return torch.zeros_like(x, dtype=torch.int32)

    def expected_outliers(self, elements: int) -> int:
        """How many of so many elements codes leave out, by calibration."""
        return 0

    def outlier_join(self, weight: NDArray[np.integer]) -> OutlierJoinSpec | None:
        """Return what adds left-out values to the sums of a product with int[N, K] weights."""
        return None

    @property
    def acc_lsb(self) -> NDArray[np.float64]:
        """What one unit of the sums stands for, times the scale of the other operand."""
        return np.asarray(self.mac_form().lsb, np.float64)

    def on_grid(self, frac: int) -> Self:
        """Return the quantizer whose parameters `frac` fraction bits can add to its input."""
        return self

    def facts(self) -> Mapping[str, Any]:
        """What a method reports of the quantizer, by name."""
        return {}


def check_real(name: str, value: torch.Tensor, shape: tuple[int, ...] = ()) -> None:
    """Raise `SpecError` unless a tensor holds positive float32 numbers and broadcasts to `shape`.

    They must be within 2**-100..2**100, so that no quotient of two leaves float32's range.
    """
    require(value.dtype == torch.float32, f"{name} must be float32, not {value.dtype}")
    _check_shape(name, value, shape)
    outside = value[~((value >= SMALLEST) & (value <= 1 / SMALLEST))]
    if outside.numel():
        require(
            False, f"{name} must be in {SMALLEST:.3g}..{1 / SMALLEST:.3g}, not {float(outside[0])}"
        )


def check_whole(
    name: str, value: torch.Tensor, least: int, most: int, shape: tuple[int, ...] = ()
) -> None:
    """Raise `SpecError` unless a tensor holds integers least..most and broadcasts to `shape`."""
    whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    require(whole, f"{name} must hold integers, not {value.dtype}")
    _check_shape(name, value, shape)
    outside = value[(value < least) | (value > most)]
    if outside.numel():
        require(False, f"{name} must be in {least}..{most}, not {int(outside[0])}")


def _check_shape(name: str, value: torch.Tensor, shape: tuple[int, ...]) -> None:
    shape_of_value = tuple(value.shape)
    fits = len(shape_of_value) <= len(shape) and all(
        side in (1, whole) for side, whole in zip(shape_of_value[::-1], shape[::-1], strict=False)
    )
    # one number fits any tensor
    require(
        fits or (shape_of_value in ((), (1,)) and value.numel() == 1),
        f"{name} of shape {list(shape_of_value)} does not fit a tensor of shape {list(shape)}",
    )


def half_up(x: torch.Tensor) -> torch.Tensor:
    """float[...] -> float[...]: the nearest whole number, ties up; straight-through gradient."""
    return straight_through(torch.floor(x + 0.5), x)


def straight_through(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return `value`, bit for bit, with the gradient of `x`; both finite and of one shape."""
    return value.detach() + (x - x.detach())


def lookup(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return table[index]; four times as fast as indexing."""
    entries = table.to(index.device).index_select(0, index.to(torch.int32).reshape(-1))
    return entries.reshape(index.shape)
