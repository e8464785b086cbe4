"""Latency and throughput of each unit as formulas: what the cost model reads and the RTL obeys.

`UNIT_TIMING` maps the stem of a unit to a function of its parameters. The gateware of every unit in
`hwq.rtl.catalog` is tested equal to its formula. `move` is none: it reads and writes.
"""

from collections.abc import Callable
from dataclasses import dataclass

_HORNER_STAGES = 2  # a register after the multiplier and one after the adder
_EXP2_DEGREE = 4  # hwq.numerics.exp2.COEFFICIENTS
_ROOT_STEPS = 18  # hwq.numerics.layernorm.ROOT_BITS, one bit per stage
_SOFTMAX_QUOTIENT = 18  # bits, one per stage
_LAYERNORM_QUOTIENT = 19


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """When results appear.

    Parameters
    ----------
    latency_cycles : int
        From the transfer of an item's last input to its last result, without stalls.
    interval_cycles : int
        Between two successive items in the steady state; 1 means fully pipelined.
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


def range_extract(values: int) -> UnitTiming:
    """Item: a stream of `values`, one per cycle. Three registers."""
    return UnitTiming(latency_cycles=3, interval_cycles=values)


def scale_predictor(values: int, features: int, scales: int, degree: int) -> UnitTiming:
    """Item: a stream of `values`, whose ranges give `scales` scales and their reciprocals.

    A scale takes one cycle per feature, and at least the two that `exp2` needs for the pair. The
    scales of one stream are computed while the next stream is read.
    """
    per_scale = max(features, 2)
    projection, sums, pair = 4, 4, 1  # registers of the projection, of the sum, and the second exp2
    stages = projection + sums + horner(degree).latency_cycles + exp2().latency_cycles + pair
    terms = features - 1 + (scales - 1) * per_scale
    return UnitTiming(
        latency_cycles=range_extract(values).latency_cycles + stages + terms,
        interval_cycles=max(values, scales * per_scale),
    )


def isqrt(in_bits: int) -> UnitTiming:
    """Item: one value. One stage per bit of the root."""
    return UnitTiming(latency_cycles=ceil_div(in_bits, 2), interval_cycles=1)


def softmax(length: int, lanes: int) -> UnitTiming:
    """Item: one row. Three passes: maximum; exponential and sum; scale by the sum's reciprocal.

    The passes of successive rows overlap, but those of one row follow each other.
    """
    words = ceil_div(length, lanes)
    powers = horner(_EXP2_DEGREE).latency_cycles + 2  # distance to the maximum and shift
    reciprocal = 2 + _SOFTMAX_QUOTIENT  # leading one and shift
    scaling = 3
    parts = 2 * _reduction_stages(lanes) + powers + reciprocal + scaling
    return UnitTiming(latency_cycles=2 * (words - 1) + parts, interval_cycles=words)


def layernorm(length: int, lanes: int) -> UnitTiming:
    """Item: one row. Two passes, sums then normalise, around a root and a division.

    Both are pipelined, one bit per stage. The passes of successive rows overlap.
    """
    words = ceil_div(length, lanes)
    sums = 1 + _reduction_stages(lanes)  # the square
    deviation = 4 + _ROOT_STEPS + _LAYERNORM_QUOTIENT  # variance (2), leading one, shift
    affine = 7
    return UnitTiming(
        latency_cycles=words - 1 + sums + deviation + affine,
        interval_cycles=words,
    )


def activation() -> UnitTiming:
    """Item: `lanes` values. One pass: table look-up, a degree-2 polynomial, a final add."""
    return UnitTiming(latency_cycles=horner(2).latency_cycles + 2, interval_cycles=1)


def requantize() -> UnitTiming:
    """Item: `lanes` accumulators. One pass: multiply, round and shift, saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def epilogue() -> UnitTiming:
    """Item: the accumulators of one element. An adder before the three stages of `requantize`."""
    return UnitTiming(1 + requantize().latency_cycles, interval_cycles=1)


def uniform() -> UnitTiming:
    """Item: one value. `requantize`."""
    return requantize()


def twin_uniform() -> UnitTiming:
    """Item: one value. Multiply; round and shift for both ranges; select and saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def shift_log2() -> UnitTiming:
    """Item: one value. An adder, `requantize`, `log2`."""
    return UnitTiming(1 + requantize().latency_cycles + log2().latency_cycles, interval_cycles=1)


def shift_uniform_log2() -> UnitTiming:
    """Item: one value. `requantize`, an adder, `log2`."""
    return shift_log2()


def rescale() -> UnitTiming:
    """Item: `lanes` multipliers and biases. One pass: multiply; shift; round."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def add() -> UnitTiming:
    """Item: `lanes` pairs. One pass: add and saturate."""
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def mul() -> UnitTiming:
    """Item: `lanes` pairs. One pass: multiply; round; saturate."""
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def mean(count: int) -> UnitTiming:
    """Item: one mean of `count` values. An accumulator before `requantize`."""
    return UnitTiming(1 + requantize().latency_cycles, interval_cycles=count)


def move() -> UnitTiming:
    """Item: `lanes` values. One pass: read and write."""
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def outlier_split() -> UnitTiming:
    """Item: `lanes` values. One pass: read the token's multiplier, then as `requantize`."""
    return UnitTiming(requantize().latency_cycles + 1, interval_cycles=1)


def outlier_join(terms: int = 1) -> UnitTiming:
    """Item: `lanes` sums of `terms` outliers each. Multiply; add; the token's factor."""
    return UnitTiming(latency_cycles=3, interval_cycles=terms)


UNIT_TIMING: dict[str, Callable[..., UnitTiming]] = {
    "log2": log2,
    "horner": horner,
    "exp2": exp2,
    "range_extract": range_extract,
    "scale_predictor": scale_predictor,
    "isqrt": isqrt,
    "softmax": softmax,
    "layernorm": layernorm,
    "activation": activation,
    "requantize": requantize,
    "epilogue": epilogue,
    "uniform": uniform,
    "twin_uniform": twin_uniform,
    "shift_log2": shift_log2,
    "shift_uniform_log2": shift_uniform_log2,
    "rescale": rescale,
    "add": add,
    "mul": mul,
    "mean": mean,
    "move": move,
    "outlier_split": outlier_split,
    "outlier_join": outlier_join,
}


def _tree_stages(lanes: int) -> int:
    """Adder or comparator stages that reduce `lanes` values to one."""
    return (lanes - 1).bit_length()


def _reduction_stages(lanes: int) -> int:
    """Stages from a row's last word to one value: the tree, the row so far, the result."""
    return _tree_stages(lanes) + 2


def ceil_div(dividend: int, divisor: int) -> int:
    """Smallest integer not below dividend / divisor, for a positive divisor."""
    return -(-dividend // divisor)
