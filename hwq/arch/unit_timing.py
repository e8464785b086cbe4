"""Latency and throughput of each unit as formulas: what the cost model reads and the RTL obeys.

`UNIT_TIMING` maps the stem of a unit to a function of its parameters. The gateware of `log2`,
`horner`, `exp2`, `range_extract` and `scale_predictor` is tested equal to these formulas. The units
below them in the table (`softmax`, `layernorm`, `gelu`, `requantize`, `rescale`, `encode`, `add`,
`move`) have no gateware yet: their formulas count passes over the data and pipeline stages of the
algorithms in `hwq.numerics`, and are to be replaced by measurement.
"""

from collections.abc import Callable
from dataclasses import dataclass

_HORNER_STAGES = 2  # a multiply stage and a round-and-add stage per degree
_EXP2_DEGREE = 4  # hwq.numerics.exp2.COEFFICIENTS
_ISQRT_ITERATIONS = 16  # one result bit per cycle of a 32-bit radicand


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """When results appear.

    Parameters
    ----------
    latency_cycles : int
        From the cycle that takes an item to the cycle that offers its result.
    interval_cycles : int
        Between two successive items; 1 means fully pipelined.
    """

    latency_cycles: int
    interval_cycles: int

    def busy_cycles(self, items: int) -> int:
        """Time from the first item in to the last result out."""
        return items * self.interval_cycles + self.latency_cycles


def log2() -> UnitTiming:
    """Item: one value. Leading one, mantissa compare, saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def horner(degree: int) -> UnitTiming:
    """Item: one value. Two stages per degree."""
    return UnitTiming(latency_cycles=_HORNER_STAGES * degree, interval_cycles=1)


def exp2() -> UnitTiming:
    """Item: one value. The degree-4 polynomial and a stage that rounds the mantissa."""
    return UnitTiming(latency_cycles=_HORNER_STAGES * _EXP2_DEGREE + 1, interval_cycles=1)


def range_extract(values: int, lanes: int) -> UnitTiming:
    """Item: one chunk of `values`, compared `lanes` at a time as they are written back."""
    return UnitTiming(latency_cycles=2, interval_cycles=ceil_div(values, lanes))


def scale_predictor(columns: int, scales: int, coefficients: int) -> UnitTiming:
    """Item: one image. `columns` ranges are projected, one per cycle into all features at once.

    Then each of `scales` polynomials takes its `coefficients` one per cycle, and two `exp2` give
    the scale and its reciprocal.
    """
    return UnitTiming(
        latency_cycles=exp2().latency_cycles + _HORNER_STAGES,
        interval_cycles=columns + scales * coefficients,
    )


def softmax(length: int, lanes: int) -> UnitTiming:
    """Item: one row. Three passes: maximum; exponential and sum; scale by the sum's reciprocal."""
    return UnitTiming(
        latency_cycles=exp2().latency_cycles + _tree_stages(lanes) + _ISQRT_ITERATIONS,
        interval_cycles=3 * ceil_div(length, lanes),
    )


def layernorm(length: int, lanes: int) -> UnitTiming:
    """Item: one row. Two passes, sums then normalise, around an inverse square root.

    The square root of a row overlaps the sums of the next one, unless rows are shorter than it.
    """
    passes = 2 * ceil_div(length, lanes)
    return UnitTiming(
        latency_cycles=_ISQRT_ITERATIONS + _tree_stages(lanes) + 3,
        interval_cycles=max(passes, _ISQRT_ITERATIONS),
    )


def gelu() -> UnitTiming:
    """Item: `lanes` values. One pass: a degree-2 polynomial, a product, a shift."""
    return UnitTiming(latency_cycles=horner(2).latency_cycles + 2, interval_cycles=1)


def requantize() -> UnitTiming:
    """Item: `lanes` accumulators. One pass: multiply, round and shift, saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def rescale() -> UnitTiming:
    """Item: `lanes` values. One pass: a second multiplier and a wide shift."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def encode() -> UnitTiming:
    """Item: `lanes` values. One pass: the `log2` pipeline, or `requantize`, equally long."""
    return log2()


def add() -> UnitTiming:
    """Item: `lanes` pairs. One pass: add and saturate."""
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def move() -> UnitTiming:
    """Item: `lanes` values. One pass: read and write."""
    return UnitTiming(latency_cycles=1, interval_cycles=1)


UNIT_TIMING: dict[str, Callable[..., UnitTiming]] = {
    "log2": log2,
    "horner": horner,
    "exp2": exp2,
    "range_extract": range_extract,
    "scale_predictor": scale_predictor,
    "softmax": softmax,
    "layernorm": layernorm,
    "gelu": gelu,
    "requantize": requantize,
    "rescale": rescale,
    "encode": encode,
    "add": add,
    "move": move,
}


def _tree_stages(lanes: int) -> int:
    """Adder or comparator stages that reduce `lanes` values to one."""
    return (lanes - 1).bit_length()


def ceil_div(dividend: int, divisor: int) -> int:
    """Smallest integer not below dividend / divisor, for a positive divisor."""
    return -(-dividend // divisor)
