"""Outlier join: a product's dense sums, its sparse side path, and one integer factor a token."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.accumulator import accumulator_bound
from hwq.numerics.requantize import ACC_BITS
from hwq.numerics.unit import Field, Unit, UnitTiming

MAX_ROW_MULT = (1 << 12) - 1
"""Largest factor of a token."""

SUM_BITS = ACC_BITS - 1
"""Results are below 2**SUM_BITS: half of what `requantize` takes; a bias may use the rest."""

_SIDE_MAX_ABS = 1 << 15
_WEIGHT_MAX_ABS = 1 << 7


def check_join(channels: int, row_mult: int = MAX_ROW_MULT) -> None:
    """Raise `SpecError` unless every join over `channels` stays below 2**45.

    A channel adds code * weight to the accumulator or side value * weight to the side path, never
    both, so even where all channels are outliers a sum is at most C * 2**15 * 2**7. With the
    largest factor, 4095, that leaves room for 2048 channels.

    Parameters
    ----------
    channels : int
        C, what the product sums over.
    row_mult : int, optional
        The largest factor of a token.
    """
    bound = accumulator_bound(channels, _SIDE_MAX_ABS, _WEIGHT_MAX_ABS) * row_mult
    require(
        bound < 1 << SUM_BITS,
        f"a joined sum must stay below 2**{SUM_BITS}, not reach {bound} "
        f"(C = {channels}, row_mult <= {row_mult})",
    )


@kernel
def _outlier_join(
    acc: NDArray[np.int32],
    side: NDArray[np.int16],
    weight: NDArray[np.int8],
    correction: NDArray[np.int64],
    row_mult: NDArray[np.int64],
) -> NDArray[np.int64]:
    """int32[R, N], int16[R, C], int8[C, N], int64[N], int64[T] -> int64[R, N]; OutlierJoinSpec's.

    The side path: an outlier adds its value times one row of `weight`; zeros are skipped.
    """
    rows, columns = acc.shape
    out = np.empty((rows, columns), np.int64)
    for r in range(rows):
        for j in range(columns):
            # |acc + correction| <= 2**32, times row_mult < 2**44; by `check_join` the side sum,
            # at most C * 2**22, times row_mult is below 2**45: together below 2**46
            out[r, j] = np.int64(acc[r, j]) + correction[j]
        for c in range(side.shape[1]):
            value = np.int32(side[r, c])
            if value != 0:
                for j in range(columns):
                    # |value * weight| <= 2**22
                    out[r, j] += np.int32(value * weight[c, j])
        factor = row_mult[r % row_mult.size]
        for j in range(columns):
            out[r, j] *= factor
    return out


def outlier_join_reference(
    acc: NDArray[np.integer],
    side: NDArray[np.integer],
    weight: NDArray[np.integer],
    spec: "OutlierJoinSpec",
) -> NDArray[np.int64]:
    """int[..., T, N], int[..., T, C], int[N, C] -> int64[..., T, N]: dense, by numpy in int64."""
    sparse = np.matmul(side.astype(np.int64), weight.astype(np.int64).T)
    joined: NDArray[np.int64] = acc.astype(np.int64) + spec.correction + sparse
    return joined * spec.row_mult[:, np.newaxis]


@dataclass(frozen=True, slots=True, eq=False)
class OutlierJoinSpec:
    """What follows the accumulators of codes that `OutlierSplitSpec` made.

    out[n, j] = (acc[n, j] + correction[j] + sum_c outliers[n, c]*weight[j, c]) * row_mult[n]

    Exact. As the scale of token n is unit * row_mult[n], all results are in units of `unit` times
    the scale of weight row j: behind this, the epilogue has no row factor left.

    Parameters
    ----------
    row_mult : int64[T]
        In 1..4095; one number for all tokens where T = 1.
    correction : int64[N]
        -zero_point times the row sums of the weight; within 2**31.
    """

    row_mult: NDArray[np.int64] = field(repr=False)
    correction: NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        for name, values, least, most, span in (
            ("row_mult", self.row_mult, 1, MAX_ROW_MULT, f"1..{MAX_ROW_MULT}"),
            ("correction", self.correction, -(1 << 31), 1 << 31, "-2**31..2**31"),
        ):
            require(
                values.ndim == 1 and values.size >= 1 and values.dtype == np.int64,
                f"{name} must be int64[n], n >= 1, not {values.dtype}{list(values.shape)}",
            )
            lo, hi = int(values.min()), int(values.max())
            require(least <= lo and hi <= most, f"{name} must be in {span}, not {lo}..{hi}")

    def parameters(self) -> dict[str, NDArray[np.int64]]:
        """Return the factor of every token; corrections are left to the product."""
        return {"row_mult": self.row_mult[:, np.newaxis]}

    def with_parameters(self, parameters: Mapping[str, NDArray[np.int64]]) -> "OutlierJoinSpec":
        """Return the same unit for other tokens: int64[T, 1], or columns that are alike."""
        return replace(self, row_mult=parameters["row_mult"][:, 0])

    def compute(
        self, acc: NDArray[np.int32], outliers: NDArray[np.int16], weight: NDArray[np.int8]
    ) -> NDArray[np.int64]:
        """int32[..., T, N], int16[..., T, C], int8[N, C] -> int64[..., T, N]; by the kernel.

        A weight in Fortran order is read without a copy.

        Raises
        ------
        SpecError
            When shapes or types do not fit, or `check_join` refuses C channels.
        """
        self._check(acc, outliers, weight)
        joined = _outlier_join(
            np.ascontiguousarray(acc).reshape(-1, acc.shape[-1]),
            np.ascontiguousarray(outliers).reshape(-1, outliers.shape[-1]),
            np.ascontiguousarray(weight.T),
            self.correction,
            self.row_mult,
        )
        return joined.reshape(acc.shape)

    def reference(
        self, acc: NDArray[np.int32], outliers: NDArray[np.int16], weight: NDArray[np.int8]
    ) -> NDArray[np.int64]:
        """int32[..., T, N], int16[..., T, C], int8[N, C] -> int64[..., T, N]; without skipping."""
        self._check(acc, outliers, weight)
        return outlier_join_reference(acc, outliers, weight, self)

    def stream(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n, 4] acc, side, weight, last -> int64[m]: sums outlier by outlier, as gateware.

        One sum takes the terms up to and with the next one whose `last` is 1. Sums follow each
        other column by column and token by token; `acc` counts in the first term of a sum, and a
        sum without outliers is one term with a side value of 0. Terms without a last are left out.

        Parameters
        ----------
        terms : int64[n, 4]
            Accumulator, side value, weight, and whether the sum ends.
        """
        acc, side, weight, last = terms.T
        ends = np.flatnonzero(last)
        if ends.size == 0:
            return np.zeros(0, np.int64)
        begins = np.concatenate([[0], ends[:-1] + 1])
        sums = np.add.reduceat(side * weight, begins)
        # what follows the last sum is none
        sums[-1] = (side * weight)[begins[-1] : ends[-1] + 1].sum()
        token, column = np.divmod(np.arange(ends.size), self.correction.size)
        joined = acc[begins] + self.correction[column] + sums
        result: NDArray[np.int64] = joined * self.row_mult[token % self.row_mult.size]
        return result

    def _check(
        self, acc: NDArray[np.int32], outliers: NDArray[np.int16], weight: NDArray[np.int8]
    ) -> None:
        for name, values, dtype in (
            ("acc", acc, np.int32),
            ("outliers", outliers, np.int16),
            ("weight", weight, np.int8),
        ):
            require(values.dtype == dtype, f"{name} must be {np.dtype(dtype)}, not {values.dtype}")
        tokens, columns = self.row_mult.size, self.correction.size
        require(
            acc.ndim >= 2 and acc.shape[-1] == columns and tokens in (1, acc.shape[-2]),
            f"acc must be [..., {tokens}, {columns}], not {list(acc.shape)}",
        )
        require(
            weight.ndim == 2 and len(weight) == columns and weight.size > 0,
            f"weight must be [{columns}, C >= 1], not {list(weight.shape)}",
        )
        channels = weight.shape[1]
        require(
            outliers.shape == (*acc.shape[:-1], channels),
            f"outliers must be {[*acc.shape[:-1], channels]}, not {list(outliers.shape)}",
        )
        check_join(channels, int(self.row_mult.max()))


def timing(terms: int = 1) -> UnitTiming:
    """Item: `lanes` sums of `terms` outliers each. Multiply; add; the token's factor, in two."""
    return UnitTiming(latency_cycles=4, interval_cycles=terms)


UNIT = Unit(
    "outlier_join",
    OutlierJoinSpec,
    timing,
    ops=("outlier_join",),
    work=(("int_multiply", 16, 8, 1), ("int_add", 32, 32, 1)),
    result_work=(("int_add", 32, 32, 2), ("int_multiply", 32, 16, 1)),
    streams=True,
    fields=(Field("row_mult", MAX_ROW_MULT.bit_length(), signed=False),),
)
