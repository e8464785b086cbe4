"""Robust range statistics of a token stream: extrema per chunk and channel, summed over chunks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics._jit import kernel
from hwq.numerics.unit import Unit, UnitTiming, Workload


@kernel
def _range_extract(
    tokens: NDArray[np.int16], channels: int, chunk_tokens: int, chunks: int
) -> NDArray[np.int32]:
    """int16[n*T*C] -> int32[n, C]: sum over chunks of (max - min) over the chunk's tokens."""
    # max - min <= 2**16 - 1 and chunks <= 2**15, so a sum stays below 2**31
    length = chunk_tokens * channels
    out = np.zeros((tokens.size // (chunks * length), channels), np.int32)
    for g in range(out.shape[0] * chunks):
        first = g * length
        low = tokens[first : first + channels].copy()
        high = low.copy()
        for s in range(1, chunk_tokens):
            row = tokens[first + s * channels : first + (s + 1) * channels]
            for c in range(channels):
                low[c] = min(low[c], row[c])
                high[c] = max(high[c], row[c])
        for c in range(channels):
            out[g // chunks, c] += np.int32(high[c]) - np.int32(low[c])
    return out


def range_extract_reference(
    tokens: NDArray[np.int16], spec: "RangeExtractSpec"
) -> NDArray[np.int32]:
    """int16[..., T, C] -> int32[..., C]: the same by a reshape and two reductions in int64."""
    chunks = (*tokens.shape[:-2], spec.chunks, spec.chunk_tokens, spec.channels)
    chunked = tokens.astype(np.int64).reshape(chunks)
    ranges: NDArray[np.int64] = (chunked.max(axis=-2) - chunked.min(axis=-2)).sum(axis=-2)
    return ranges.astype(np.int32)


@dataclass(frozen=True, slots=True)
class RangeExtractSpec:
    """range[c] = sum over chunks g of (max - min) of channel c over the chunk's tokens.

    An outlier widens one chunk only, so the sum is a trimmed range; the division by `chunks`
    belongs to whoever scales the result.

    Parameters
    ----------
    channels : int in 1..2**16
        C, values per token.
    chunk_tokens : int in 1..2**16
        S, consecutive tokens per chunk.
    chunks : int in 1..2**15
        G; a stream has T = G*S tokens.
    """

    channels: int
    chunk_tokens: int = 14
    chunks: int = 14

    def __post_init__(self) -> None:
        require(1 <= self.channels <= 1 << 16, f"channels must be in 1..65536, not {self.channels}")
        require(
            1 <= self.chunk_tokens <= 1 << 16,
            f"chunk_tokens must be in 1..65536, not {self.chunk_tokens}",
        )
        require(1 <= self.chunks <= 1 << 15, f"chunks must be in 1..32768, not {self.chunks}")

    @property
    def tokens(self) -> int:
        """T, the tokens of one stream."""
        return self.chunks * self.chunk_tokens

    def compute(self, tokens: NDArray[np.int16]) -> NDArray[np.int32]:
        """int16[..., T, C] -> int32[..., C], never negative."""
        self._check(tokens)
        flat = np.ascontiguousarray(tokens).reshape(-1)
        ranges = _range_extract(flat, self.channels, self.chunk_tokens, self.chunks)
        return ranges.reshape(*tokens.shape[:-2], self.channels)

    def reference(self, tokens: NDArray[np.int16]) -> NDArray[np.int32]:
        """int16[..., T, C] -> int32[..., C], slowly."""
        self._check(tokens)
        return range_extract_reference(tokens, self)

    def _check(self, tokens: NDArray[np.int16]) -> None:
        shape = (self.tokens, self.channels)
        require(
            tokens.dtype == np.int16 and tokens.shape[-2:] == shape,
            f"tokens must be int16[..., {shape[0]}, {shape[1]}], "
            f"not {tokens.dtype}{list(tokens.shape)}",
        )


def timing(values: int) -> UnitTiming:
    """Item: a stream of `values`, one per cycle. Five registers."""
    return UnitTiming(latency_cycles=5, interval_cycles=values)


def _each_word(_: Callable[..., UnitTiming], load: Workload) -> tuple[UnitTiming, int]:
    """Item: the channels of a word of a token; all tokens, then those of the next word."""
    # extrema, their difference, and the second half of a word's ranges
    return UnitTiming(latency_cycles=3, interval_cycles=1), load.rows * load.words


UNIT = Unit(
    "range_extract",
    RangeExtractSpec,
    timing,
    ops=("range_extract",),
    work=(("compare", 16, 16, 2),),
    items=_each_word,
    cut="columns",
)
