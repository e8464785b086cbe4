"""What steps of several nodes have in common: rescaling and encoding, for one image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwq.runtime.fused.kernels import Encoding
from hwq.runtime.fused.lookup import Codes as CodeTable
from hwq.runtime.fused.rescale import Rescale, Rule, Rules
from hwq.runtime.step import Array

NO_CODES: CodeTable = (np.zeros(0, np.uint8), np.zeros((0, 2), np.int64))
NO_RULE: Rule = (np.zeros((4, 0), np.int32), np.zeros((2, 0), np.int64), 0, 0)
NO_VALUES = np.zeros(0, np.int16)
NO_RESIDUAL = np.zeros((0, 0), np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Rescaling:
    """Rescaling of a node, after scales that are computed where it has such an operand.

    Parameters
    ----------
    rescale : Rescale
    scales : str or None
        Tensor of the image's scales.
    """

    rescale: Rescale
    scales: str | None
    fixed: Rules | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", self.rescale.rules() if self.scales is None else None)

    def rules(self, values: Mapping[str, Array]) -> Rules:
        """Return the rules of all heads, for one image."""
        if self.fixed is not None:
            return self.fixed
        assert self.scales is not None
        return self.rescale.rules(values[self.scales])

    def rule(self, values: Mapping[str, Array]) -> Rule:
        """Return the only rule, for one image."""
        narrow, wide, lo, hi = self.rules(values)
        return narrow[0], wide[0], lo, hi


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Codes of 16-bit values: by a table, or by a rescaling.

    Parameters
    ----------
    table : CodeTable
        Empty where it is a rescaling, or nothing.
    rescaling : Rescaling, optional
    activation : int16[65536]
        What values become first; empty where they stay.
    """

    table: CodeTable = NO_CODES
    rescaling: Rescaling | None = None
    activation: NDArray[np.int16] = field(default_factory=lambda: NO_VALUES)

    @property
    def scales(self) -> str | None:
        """Tensor of the image's scales, if it takes one."""
        return None if self.rescaling is None else self.rescaling.scales

    def encoding(self, values: Mapping[str, Array]) -> Encoding:
        """Return what kernels take, for one image."""
        rule = NO_RULE if self.rescaling is None else self.rescaling.rule(values)
        return rule, self.table


def as_bytes(x: Array) -> Array:
    """8-bit codes as uint8, whatever their sign: kernels see the bits; others as they are."""
    return x.view(np.uint8) if x.dtype == np.int8 else x
