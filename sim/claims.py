"""What the proofs claim of each unit, written for them: nothing is taken from gateware or kernels.

A code is first a function of one input in exact rationals, as the unit's page states it. Between
its turning points such a function rises or falls in steps, so bisection gives the table of the
inputs at which it changes, and the table is what the prover gets.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor

from hwq.numerics.horner import HornerSpec
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec

Table = Sequence[tuple[int, int]]
"""(first input, code), ascending: the code holds up to the next first input."""


def log2_level(spec: Log2Spec) -> Callable[[int], int]:
    """r = round(-steps*log2(y)), y = x / 2**in_bits: the least with y**(2*steps) > 2**-(2r+1)."""

    def level(x: int) -> int:
        power = Fraction(x, 1 << spec.in_bits) ** (2 * spec.steps_per_octave)
        r = 0
        while power * 2 ** (2 * r + 1) <= 1:
            r += 1
        return r

    return level


def log2_code(spec: Log2Spec) -> Callable[[int], int]:
    """code = max(r - offset, 0); the top code for x = 0, and for what it or the shift lacks."""
    level, top = log2_level(spec), (1 << spec.bits) - 1

    def code(x: int) -> int:
        if x == 0:
            return top
        r = level(x)
        if r - spec.offset > top - 1 or Fraction(r, spec.steps_per_octave) > spec.max_exponent:
            return top
        return max(r - spec.offset, 0)

    return code


def requantize_code(spec: RequantizeSpec) -> Callable[[int], int]:
    """code = clamp(nearest(acc*mult / 2**shift) + zero_point), ties up."""
    least = -(1 << (spec.out_bits - 1)) if spec.signed else 0
    most = least + (1 << spec.out_bits) - 1

    def code(acc: int) -> int:
        return min(max(nearest(acc, spec.mult, spec.shift) + spec.zero_point, least), most)

    return code


def shift_log2_code(spec: ShiftLog2Spec) -> Callable[[int], int]:
    """Code of log2 for the fraction clamp(nearest((x + shift_add)*mult / 2**shift), 0, 65535)."""
    of_fraction = log2_code(Log2Spec(16, spec.bits, spec.steps_per_octave, spec.offset))

    def code(x: int) -> int:
        fraction = nearest(x + spec.shift_add, spec.mult, spec.shift)
        return of_fraction(min(max(fraction, 0), 65535))

    return code


def twin_uniform_code(spec: TwinUniformSpec) -> Callable[[int], int]:
    """code = flag << (bits-1) | magnitude: one of two ranges, each rounded once."""
    top = (1 << (spec.bits - 1)) - 1

    def code(x: int) -> int:
        fine = nearest(x, spec.mult, spec.shift)
        coarse = nearest(x, spec.mult, spec.shift + spec.m)
        if spec.form == "gelu":
            flag, magnitude = (x >= 0, coarse if x >= 0 else -fine)
        else:
            flag = fine > top and coarse > 0
            magnitude = coarse if flag else fine
        return flag * (top + 1) + min(max(magnitude, 0), top)

    return code


def horner_code(spec: HornerSpec) -> Callable[[int], int]:
    """acc = saturated(nearest(acc*x / 2**frac) + c) for every coefficient c after the first."""

    def code(x: int) -> int:
        acc = spec.coefficients[0]
        for coefficient in spec.coefficients[1:]:
            acc = nearest(acc, x, spec.frac) + coefficient
            acc = min(max(acc, spec.minimum), spec.maximum)
        return acc

    return code


def table(code: Callable[[int], int], inputs: range, turns: Sequence[int] = ()) -> Table:
    """Return the table of a function that is monotone between `turns`."""
    ends = [inputs.start, *turns, inputs.stop]
    claims: list[tuple[int, int]] = []
    for first, stop in pairwise(ends):
        at = first
        while at < stop:
            value = code(at)
            if not claims or claims[-1][1] != value:
                claims.append((at, value))
            low, high = at, stop  # the code at low is value; the first other is in low+1..high
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if code(middle) == value else (low, middle)
            at = high
    return claims


def lookup(steps: Table, name: str = "formula") -> str:
    """Return a table as the body of the Verilog function `name(x)`."""
    lines = [f"{name} = {literal(steps[0][1])};"]
    lines += [f"if (x >= {literal(first)}) {name} = {literal(code)};" for first, code in steps[1:]]
    return "begin\n  " + "\n  ".join(lines) + "\nend"


def nearest(x: int, mult: int, shift: int) -> int:
    """Return x*mult / 2**shift as the nearest integer, ties up."""
    return floor(Fraction(x * mult, 1 << shift) + Fraction(1, 2))


def literal(value: int) -> str:
    """Return an integer as a signed Verilog constant of 64 bits."""
    return f"64'sd{value}" if value >= 0 else f"-64'sd{-value}"
