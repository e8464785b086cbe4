"""A systolic array of processing elements, and how its operands lie in its memories."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.pe import PeSpec, pe_reference, wrapped

Dataflow = Literal["output_stationary", "weight_stationary", "input_stationary"]
DATAFLOWS: tuple[Dataflow, ...] = ("output_stationary", "weight_stationary", "input_stationary")
"""What stays in the array while the third dimension streams through it."""


class Extents(NamedTuple):
    """The dimensions of a product along the array's rows, its columns, and time."""

    row: int
    column: int
    stream: int


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """rows x columns elements that compute out[M, N] = a[M, K] b[K, N], tile by tile.

    One operand enters at the left edge, a word of `rows` elements a cycle, the other at the top
    edge, a word of `columns` elements. Results are words of `columns` elements. The words of a
    memory, with c tiles along the columns and r along the rows:

    ==================  ================  ================  ================
    dataflow            left word         top word          result word
    ==================  ================  ================  ================
    output_stationary   a (m-tile, k)     b (n-tile, k)     (n-tile, m)
    weight_stationary   a (k-tile, m)     b (n-tile, k)     (n-tile, m)
    input_stationary    b (k-tile, n)     a (m-tile, k)     (m-tile, n)
    ==================  ================  ================  ================

    Word (tile, i) is at base + tile * stride + i, and its elements run along the tile.

    Parameters
    ----------
    rows, columns : int in 1..256
        Elements along each edge.
    dataflow : str
        What stays in the array.
    pe : PeSpec
    a_depth, b_depth, result_depth : int in 2..2**20
        Words of the memories.
    extent_bits : int in 4..24
        Width of M, K and N in a program; at least log2 rows.
    """

    rows: int
    columns: int
    dataflow: Dataflow = "weight_stationary"
    pe: PeSpec = field(default_factory=PeSpec)
    a_depth: int = 1024
    b_depth: int = 1024
    result_depth: int = 1024
    extent_bits: int = 16

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rows", 1, 256),
            ("columns", 1, 256),
            ("a_depth", 2, 1 << 20),
            ("b_depth", 2, 1 << 20),
            ("result_depth", 2, 1 << 20),
            ("extent_bits", 4, 24),
        ):
            value = getattr(self, name)
            require(low <= value <= high, f"{name} must be in {low}..{high}, not {value}")
        # the steps of a fold are counted up to the longer of K, M or N and the rows
        least = (self.rows - 1).bit_length()
        require(
            self.extent_bits >= least,
            f"extent_bits must be at least {least} for {self.rows} rows, not {self.extent_bits}",
        )
        known = ", ".join(DATAFLOWS)
        require(
            self.dataflow in DATAFLOWS, f"dataflow must be one of {known}, not {self.dataflow!r}"
        )

    @property
    def a_is_left(self) -> bool:
        """Whether a enters at the left edge and b at the top."""
        return self.dataflow != "input_stationary"

    @property
    def a_lanes(self) -> int:
        """Elements of a word of a."""
        return self.rows if self.a_is_left else self.columns

    @property
    def b_lanes(self) -> int:
        """Elements of a word of b."""
        return self.columns if self.a_is_left else self.rows

    def extents(self, m: int, k: int, n: int) -> Extents:
        """Lay the dimensions of a product out."""
        return {
            "output_stationary": Extents(m, n, k),
            "weight_stationary": Extents(k, n, m),
            "input_stationary": Extents(k, m, n),
        }[self.dataflow]

    def program(
        self,
        m: int,
        k: int,
        n: int,
        *,
        bases: tuple[int, int, int] = (0, 0, 0),
        strides: tuple[int, int, int] | None = None,
        accumulate: bool = False,
        complete: bool = True,
    ) -> dict[str, int]:
        """Return the registers of one product: fields of `hwq.rtl.array_program`.

        Parameters
        ----------
        m, k, n : int
            Extents of the product, or of a tile of it.
        bases : tuple of int
            First words of a, b and the results.
        strides : tuple of int, optional
            Words between tiles of a, b and the results; by default of matrices of these extents.
        accumulate : bool
            Add to the results that are there: an earlier tile of K.
        complete : bool
            Send the results as a stream as well: the last tile of K.
        """
        extents = self.extents(m, k, n)
        for name, extent in zip("mkn", (m, k, n), strict=True):
            most = (1 << self.extent_bits) - 1
            require(1 <= extent <= most, f"{name} must be in 1..{most}, not {extent}")
        names = ("a", "b", "result") if self.a_is_left else ("b", "a", "result")
        depths = {"a": self.a_depth, "b": self.b_depth, "result": self.result_depth}
        base = dict(zip(("a", "b", "result"), bases, strict=True))
        output_stationary = self.dataflow == "output_stationary"
        lengths = (
            extents.stream,
            extents.stream if output_stationary else extents.row,
            extents.row if output_stationary else extents.stream,
        )
        stride = dict(zip(names, lengths, strict=True))
        if strides is not None:
            stride = dict(zip(("a", "b", "result"), strides, strict=True))
        row_tiles, column_tiles = -(-extents.row // self.rows), -(-extents.column // self.columns)
        tiles = (row_tiles, column_tiles, column_tiles)
        for name, length, count in zip(names, lengths, tiles, strict=True):
            for what, value in (("base", base[name]), ("stride", stride[name])):
                require(value >= 0, f"{what} of {name} must not be negative, not {value}")
            need = base[name] + (count - 1) * stride[name] + length
            depth = depths[name]
            require(need <= depth, f"{name}_depth must be at least {need} words, not {depth}")
        left, top, result = names
        return {
            "rows": extents.row,
            "columns": extents.column,
            "stream": extents.stream,
            "left_base": base[left],
            "left_stride": stride[left],
            "top_base": base[top],
            "top_stride": stride[top],
            "result_base": base[result],
            "result_stride": stride[result],
            "accumulate": int(accumulate),
            "complete": int(complete),
        }

    def a_words(self, a: NDArray[np.integer], fill: int = 0) -> NDArray[np.int64]:
        """int[M, K] -> int64[words, a_lanes]; stride M if weight_stationary, else K.

        The array does not look at `fill`, which is beyond the edges.
        """
        along_m = self.dataflow != "weight_stationary"
        return _words(a if along_m else a.T, self.a_lanes, fill)

    def b_words(self, b: NDArray[np.integer], fill: int = 0) -> NDArray[np.int64]:
        """int[K, N] -> int64[words, b_lanes]; stride N if input_stationary, else K."""
        along_n = self.dataflow != "input_stationary"
        return _words(b.T if along_n else b, self.b_lanes, fill)

    def result_words(self, out: NDArray[np.integer]) -> NDArray[np.int64]:
        """int[planes, M, N] -> int64[words, columns, planes]; stride N or M."""
        planes = [_words(p.T if self.a_is_left else p, self.columns) for p in out]
        return np.stack(planes, axis=-1)

    def compute(
        self,
        a: NDArray[np.integer],
        b: NDArray[np.integer],
        start: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """int[M, K] codes, int[K, N] -> int64[planes, M, N], modulo 2**acc_bits.

        sum over k of `pe.products(a[m, k], b[k, n])`, plus `start`, the sums of earlier tiles of K.
        A sum is below 2**62 for K <= 2**16.
        """
        tables = self.pe.tables()[:, np.asarray(a, np.int64) & ((1 << self.pe.a_bits) - 1)]
        sums: NDArray[np.int64] = tables @ np.asarray(b, np.int64)
        return wrapped(sums if start is None else sums + start, self.pe.acc_bits)


def _words(values: NDArray[np.integer], lanes: int, fill: int = 0) -> NDArray[np.int64]:
    """int[L, S] -> int64[ceil(L / lanes) * S, lanes]: word (tile, s); `fill` beyond L."""
    length, stream = values.shape
    tiles = -(-length // lanes)
    padded = np.full((tiles * lanes, stream), fill, np.int64)
    padded[:length] = values
    return padded.reshape(tiles, lanes, stream).swapaxes(1, 2).reshape(tiles * stream, lanes)


def array_reference(
    a: NDArray[np.integer], b: NDArray[np.integer], spec: ArraySpec
) -> NDArray[np.int64]:
    """int[M, K], int[K, N] -> int64[planes, M, N]: one step of one element after another."""
    m, k, n = *a.shape, b.shape[1]
    out = np.zeros((spec.pe.planes, m, n), np.int64)
    for row in range(m):
        for column in range(n):
            acc = [0] * spec.pe.planes
            for i in range(k):
                acc = pe_reference(acc, int(a[row, i]), int(b[i, column]), spec.pe)
            out[:, row, column] = acc
    return out
