"""Cycles of a matrix product on an R x C systolic array: closed forms, no simulation state.

out[M, N] = a[M, K] b[K, N]. A *fold* holds one operand block in the array while the third
dimension streams through it; partial blocks at the edges cost as much as whole ones.

==================  ========  ========  ========  ======================
dataflow            rows of   columns   stream S  cycles of a fold alone
==================  ========  ========  ========  ======================
output_stationary   M         N         K         K + R + C - 2
weight_stationary   K         N         M         M + 2 R + C - 2
input_stationary    K         M         N         N + 2 R + C - 2
==================  ========  ========  ========  ======================

`timing="rtl"` is what the gateware (`hwq.rtl.array`) counts from its start to the last result, for
F folds, any dataflow. While a fold streams, the next block is loaded or the last one drained, which
takes R cycles, so a fold takes the longer of the two; only the first load or the last drain, the
skew, and four cycles of memories and edge registers come on top:

    (F - 1) max(S, R) + S + 2 R + C + 2

`timing="stall_free"` does not overlap folds: F times the cycles of a fold alone. This is
SCALE-Sim's count, except that it reports the index of the last cycle instead of the number of
cycles: one less per product (`timing="scalesim"`).
"""

from dataclasses import dataclass

from hwq.arch.kinds import Timing
from hwq.numerics.array import Dataflow
from hwq.numerics.unit import ceil_div


@dataclass(frozen=True, slots=True)
class Mapping:
    """A product laid out on an array.

    Parameters
    ----------
    row_extent, column_extent, stream_extent : int
        The dimensions (of M, N, K) along the array's rows, its columns, and time.
    rows, columns : int
        The array.
    preload : int
        Cycles that load the stationary block before the stream starts.
    """

    row_extent: int
    column_extent: int
    stream_extent: int
    rows: int
    columns: int
    preload: int

    @property
    def row_folds(self) -> int:
        """Blocks along the rows."""
        return ceil_div(self.row_extent, self.rows)

    @property
    def column_folds(self) -> int:
        """Blocks along the columns."""
        return ceil_div(self.column_extent, self.columns)

    @property
    def folds(self) -> int:
        """Passes through the array."""
        return self.row_folds * self.column_folds

    @property
    def fold_cycles(self) -> int:
        """Preload, stream, skew over rows and columns."""
        return self.preload + self.stream_extent + self.rows + self.columns - 2

    @property
    def rtl_cycles(self) -> int:
        """Cycles of the gateware, from its start to the last result, both counted."""
        # the larger of both, for arrays too
        slot = (self.stream_extent + self.rows + abs(self.stream_extent - self.rows)) // 2
        alone = self.stream_extent + 2 * self.rows + self.columns + 2
        return (self.folds - 1) * slot + alone

    @property
    def efficiency(self) -> float:
        """Share of processing elements that hold work, averaged over the folds."""
        mapped = self.row_extent * self.column_extent
        return mapped / (self.folds * self.rows * self.columns)


def map_matmul(m: int, n: int, k: int, rows: int, columns: int, dataflow: Dataflow) -> Mapping:
    """Lay out[m, n] = a[m, k] b[k, n] on a rows x columns array."""
    if dataflow == "output_stationary":
        return Mapping(m, n, k, rows, columns, preload=0)
    if dataflow == "weight_stationary":
        return Mapping(k, n, m, rows, columns, preload=rows)
    return Mapping(k, m, n, rows, columns, preload=rows)


def matmul_cycles(
    m: int,
    n: int,
    k: int,
    rows: int,
    columns: int,
    dataflow: Dataflow,
    timing: Timing = "stall_free",
) -> int:
    """Cycles of one product; arrays of extents give arrays."""
    mapping = map_matmul(m, n, k, rows, columns, dataflow)
    if timing == "rtl":
        return mapping.rtl_cycles
    return mapping.folds * mapping.fold_cycles - timing_correction(timing)


def timing_correction(timing: Timing) -> int:
    """Cycles that a timing convention leaves out per product."""
    return 1 if timing == "scalesim" else 0


def utilization(macs: int, cycles: int, rows: int, columns: int) -> float:
    """Share of the array's multiply-accumulate slots in `cycles` that did work."""
    return macs / (cycles * rows * columns) if cycles else 0.0
