"""From accumulators to codes: bias, zero-point correction, dyadic requantization.

With per-image scales (`scale_predictor`) the multiplier and the bias are first rescaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.requantize import (
    ACC_BITS,
    MULT_BITS,
    SHIFT_BITS,
    requantize,
    requantize_reference,
)
from hwq.numerics.rescale import rescale_bias, rescale_mult
from hwq.numerics.unit import REQUANTIZE_WORK, Field, Unit, UnitTiming

Int = NDArray[np.int64]
# columns of a scale predictor's output: a factor and its reciprocal, as (mantissa, exponent)
SCALE, RECIPROCAL = slice(0, 2), slice(2, 4)
GUARD_BITS = 12
"""How far sums of one plane are shifted left before anything is added to them.

A bias is a whole number of units. Products of short codes are coarse ones: a bias in them would be
rounded twice. A fixed shift takes no hardware.
"""

SQRT2 = (128, 181)
"""Weights of the planes of log_sqrt2 codes: 181/128 ~ sqrt(2)."""

ADDEND_BITS = 46
"""Bias and correction together; a sum with shifted products stays within as many."""

ZERO_POINT_BITS = 17
"""With a sign: 0 is one of the codes, which have at most 16 bits, signed or not."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Which predicted factor a multiplier is rescaled by.

    Parameters
    ----------
    index : int
        Row of the scale predictor's output.
    kind : str
        "scale" where codes of that scale were multiplied; "reciprocal" where they are made.
    """

    index: int
    kind: Literal["scale", "reciprocal"]

    def pick(self, scales: Int) -> tuple[int, int]:
        """int64[L, 4] -> (mantissa, exponent) of the factor."""
        mantissa, exponent = scales[self.index, SCALE if self.kind == "scale" else RECIPROCAL]
        return int(mantissa), int(exponent)

    def pick_inverse(self, scales: Int) -> tuple[int, int]:
        """int64[L, 4] -> (mantissa, exponent) of one over the factor."""
        kind: Literal["scale", "reciprocal"] = "reciprocal" if self.kind == "scale" else "scale"
        return Factor(self.index, kind).pick(scales)


@dataclass(frozen=True, slots=True)
class EpilogueSpec:
    """What happens to the accumulators of one element, with parameters that travel with it.

    acc = sum of plane_weights * planes + addend
    code = clamp(((acc*mult + 2**(shift-1)) >> shift) + zero_point, lo, hi)

    Parameters
    ----------
    lo, hi : int
        Range of the result, lo < hi, within 32 bits.
    plane_weights : tuple of int
        What each accumulator of the element counts: of a product of one plane 2**GUARD_BITS, of
        several those of `hwq.quantizers.mac_form`.
    acc_bits : int
        Width of an accumulator; 46 behind `outlier_join`.
    addend_bits : int
        Width of the addend, bias + correction. All sums must stay below 2**46.
    """

    lo: int
    hi: int
    plane_weights: tuple[int, ...] = (1,)
    acc_bits: int = 32
    addend_bits: int = ADDEND_BITS

    def __post_init__(self) -> None:
        require(
            -(1 << 31) <= self.lo < self.hi < 1 << 31,
            f"lo..hi must be two values or more within 32 bits, not {self.lo}..{self.hi}",
        )
        require(
            bool(self.plane_weights) and all(weight > 0 for weight in self.plane_weights),
            f"plane_weights must be positive, not {self.plane_weights}",
        )
        for name in ("acc_bits", "addend_bits"):
            bits = getattr(self, name)
            require(2 <= bits <= ACC_BITS, f"{name} must be in 2..{ACC_BITS}, not {bits}")
        largest = sum(self.plane_weights) << (self.acc_bits - 1)
        largest += 1 << (self.addend_bits - 1)
        require(
            largest < 1 << ACC_BITS,
            f"the sum must stay below 2**{ACC_BITS}, not reach {largest}",
        )

    @property
    def fields(self) -> tuple[tuple[int, int], ...]:
        """Least and most of every operand: the planes, addend, mult, shift, zero_point."""
        plane, addend, point = (
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            for bits in (self.acc_bits, self.addend_bits, ZERO_POINT_BITS)
        )
        mult = (0, (1 << MULT_BITS) - 1)
        return (*(plane for _ in self.plane_weights), addend, mult, (1, 62), point)

    def compute(self, operands: Int) -> tuple[NDArray[np.integer], int]:
        """int64[n, fields] -> codes int[n], number of saturated elements."""
        codes, saturated = requantize(*self._operands(operands), self.lo, self.hi)
        return codes[:, 0], saturated

    def reference(self, operands: Int) -> tuple[NDArray[np.integer], int]:
        """int64[n, fields] -> codes int[n], number of saturated elements, slowly."""
        codes, saturated = requantize_reference(*self._operands(operands), self.lo, self.hi)
        return codes[:, 0], saturated

    def _operands(self, operands: Int) -> tuple[Int, Int, Int, Int]:
        require(
            operands.ndim == 2 and operands.shape[1] == len(self.fields),
            f"operands must be [n, {len(self.fields)}], not {list(operands.shape)}",
        )
        *planes, addend, mult, shift, zero_point = np.split(operands, len(self.fields), axis=1)
        # below 2**46, as the constructor holds
        acc = sum((p * w for p, w in zip(planes, self.plane_weights, strict=True)), start=addend)
        return acc, mult, shift, zero_point


@dataclass(frozen=True, slots=True, eq=False)
class Epilogue:
    """What happens to the accumulators of one matrix product.

    total = acc * 2**guard + bias + correction
    clamp(((total * mult + 2**(shift-1)) >> shift) + zero_point, lo, hi)

    Parameters
    ----------
    bias : int64 array
        In units of the total.
    correction : int64 array
        Minus the left operand's offset times the column sums of the right operand, times 2**guard.
    mult, shift, zero_point : int64 arrays
        Dyadic multiplier, and the zero point of the codes.
    lo, hi : int
        Range of the result.
    factor : Factor, optional
        Per-image factor on mult; the bias is multiplied by its inverse when it is a "scale".
    guard : int
        How far the accumulators are shifted left: 0 or GUARD_BITS.

    Notes
    -----
    All arrays broadcast against the accumulators from the right. The correction counts codes, so
    it never depends on a scale.
    """

    bias: Int
    correction: Int
    mult: Int
    shift: Int
    zero_point: Int
    lo: int
    hi: int
    factor: Factor | None = None
    guard: int = 0

    def __post_init__(self) -> None:
        require(self.lo <= self.hi, f"lo must not exceed hi, not {self.lo}..{self.hi}")

    def parameters(self) -> dict[str, Int]:
        """Return what an element of the result takes, before any factor of the image."""
        return {
            "addend": self.bias + self.correction,
            "mult": self.mult,
            "shift": self.shift,
            "zero_point": self.zero_point,
        }

    def with_parameters(self, parameters: Mapping[str, Int]) -> "Epilogue":
        """Return the same epilogue with other `parameters`, which no factor changes further."""
        return replace(
            self,
            bias=parameters["addend"],
            correction=np.zeros((), np.int64),
            mult=parameters["mult"],
            shift=parameters["shift"],
            zero_point=parameters["zero_point"],
            factor=None,
        )

    def compute(
        self, acc: NDArray[np.integer], scales: Int | None = None
    ) -> tuple[NDArray[np.integer], int]:
        """int[..., C] -> codes int[..., C], number of saturated elements."""
        addend = self.addend(scales)
        mult, shift, zero_point = self._operands(acc.shape, scales)
        wide: NDArray[np.integer] = acc if acc.dtype.itemsize > 2 else acc.astype(np.int32)
        if not addend.any() and int(shift.min()) > self.guard:
            # nothing is added, so that both shifts are one
            shift = shift - self.guard
        else:
            wide = np.left_shift(acc, self.guard, dtype=np.int64)
            wide += addend
        rows = wide.reshape(-1, acc.shape[-1])
        codes, saturated = requantize(rows, mult, shift, zero_point, self.lo, self.hi)
        return codes.reshape(acc.shape), saturated

    def reference(
        self, acc: NDArray[np.integer], scales: Int | None = None
    ) -> tuple[NDArray[np.integer], int]:
        """Same as `compute`, by the reference of requantize."""
        wide = acc.astype(np.int64) * 2**self.guard + self.addend(scales)
        rows = wide.reshape(-1, acc.shape[-1])
        codes, saturated = requantize_reference(
            rows, *self._operands(acc.shape, scales), self.lo, self.hi
        )
        return codes.reshape(acc.shape), saturated

    def addend(self, scales: Int | None) -> Int:
        """Return bias and correction together, for an image with these scales."""
        if self.factor is None or self.factor.kind != "scale":
            return self.bias + self.correction
        assert scales is not None
        return rescale_bias(self.bias, *self.factor.pick_inverse(scales)) + self.correction

    def _operands(self, shape: tuple[int, ...], scales: Int | None) -> tuple[Int, Int, Int]:
        mult, shift = self.multiplier(scales)
        return _rows(mult, shape), _rows(shift, shape), _rows(self.zero_point, shape)

    def multiplier(self, scales: Int | None) -> tuple[Int, Int]:
        """Return mult and shift, for an image with these scales."""
        if self.factor is None:
            return self.mult, self.shift
        assert scales is not None
        return rescale_mult(self.mult, self.shift, *self.factor.pick(scales))


def _rows(values: Int, shape: tuple[int, ...]) -> Int:
    """Reshape values that broadcast against `shape` to [1 or R, 1 or C]."""
    columns = values.shape[-1] if values.ndim else 1
    if values.size == columns:
        return values.reshape(1, columns)
    full = np.broadcast_to(values, (*shape[:-1], columns))
    return full.reshape(-1, columns)


def timing() -> UnitTiming:
    """Item: the accumulators of one element. Weigh, add; multiply, shift: 2 each; round; clamp."""
    return UnitTiming(latency_cycles=8, interval_cycles=1)


UNIT = Unit(
    "epilogue",
    Epilogue,
    timing,
    ops=("requantize", "encode"),
    work=REQUANTIZE_WORK,
    streams=True,
    fields=(
        Field("addend", ADDEND_BITS),
        Field("mult", MULT_BITS, signed=False),
        Field("shift", SHIFT_BITS, signed=False),
        Field("zero_point", ZERO_POINT_BITS),
    ),
)
