"""What is proven of which unit: the claim, the depth, the invariants of the unbounded proofs.

Parameters are chosen so that the prover needs seconds: multipliers are hard for it, so accumulators
have 16 bits and Horner's rule 8.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from amaranth.hdl import Shape, signed, unsigned

from hwq.numerics.fixed_point import FixedPoint
from hwq.numerics.horner import HornerSpec
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.rtl.horner import Horner
from hwq.rtl.log2 import Log2
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.requantize import Requantize
from hwq.rtl.shift_log2 import ShiftLog2
from hwq.rtl.twin_uniform import TwinUniform
from hwq.sim.claims import (
    horner_code,
    literal,
    log2_code,
    log2_level,
    lookup,
    nearest,
    requantize_code,
    shift_log2_code,
    table,
    twin_uniform_code,
)
from hwq.sim.proofs import Proof

_COUNTED: Final = "count == valid_1 + valid_2 + o__valid"


@dataclass(frozen=True)
class Case:
    """One unit with its proofs.

    Parameters
    ----------
    stem : str
        Name of the unit's module.
    proof : callable
        Returns the claim; making its table takes a while.
    cycles : int
        Depth of the bounded proof, more than the unit's registers.
    fault : (str, str)
        A place in the unit's Verilog, and what to write there for a unit that is wrong.
    """

    stem: str
    proof: Callable[[], Proof]
    cycles: int
    fault: tuple[str, str]


def _inputs(unit: StreamUnit) -> range:
    shape = Shape.cast(unit.i.payload.shape())
    values = FixedPoint(shape.width, 0, shape.signed)
    return range(values.min, values.max + 1)


def _log2(spec: Log2Spec) -> Proof:
    """Registers in terms of the input: its leading zeros, its level."""
    unit = Log2(spec)
    every = _inputs(unit)
    x = f"[{spec.in_bits - 1}:0]"
    level = log2_level(spec)
    zero_level = spec.steps_per_octave * 16  # what stage 2 makes of no leading one
    levels = lookup(table(lambda v: level(v) if v else zero_level, every), "level_of")
    lefts = lookup(table(lambda v: 16 - max(v.bit_length(), 1), every), "left_of")
    return Proof(
        unit,
        lookup(table(log2_code(spec), every)),
        invariants=(
            _COUNTED,
            "!valid_1 || far == left_of(input_of(valid_2 + o__valid)) >> 2",
            "!valid_1 || x == input_of(valid_2 + o__valid) << {far, 2'b00}",
            "!valid_2 || level == level_of(input_of(o__valid))",
        ),
        registers={"valid_1": "", "valid_2": "", "x": x, "far": "[1:0]", "level": "[5:0]"},
        helpers=f"function [5:0] level_of(input {x} x); {levels} endfunction\n"
        f"function [3:0] left_of(input {x} x); {lefts} endfunction",
    )


def _requantize(spec: RequantizeSpec, acc_bits: int) -> Proof:
    """Registers in terms of the product, which travels beside the input.

    That a product gives the code that the formula gives of its input holds for every pair when it
    enters, so no later cycle needs a multiplier.
    """
    unit = Requantize(spec, acc_bits)
    every = _inputs(unit)
    product = f"signed [{acc_bits + 15}:0]"
    least, most = (literal(end * spec.mult) for end in (every[0], every[-1]))
    low, high = literal(spec.out.min), literal(spec.out.max)
    ends = [nearest(end, spec.mult, spec.shift) + spec.zero_point for end in (every[0], every[-1])]
    wide = Shape.cast(range(min(ends[0], 0), max(ends[1], 1) + 1))
    places = range(unit.latency_cycles)
    return Proof(
        unit,
        lookup(table(requantize_code(spec), every)),
        invariants=(
            _COUNTED,
            "!valid_1 || product_0_0 == product_in_of(valid_2 + o__valid)",
            "!valid_2 || wide == wide_of(product_in_of(o__valid))",
            *(f"count <= {k} || product_in_{k} >= {least}" for k in places),
            *(f"count <= {k} || product_in_{k} <= {most}" for k in places),
            *(
                f"count <= {k} || formula(input_{k}) == held_of(wide_of(product_in_{k}))"
                for k in places
            ),
        ),
        registers={"valid_1": "", "valid_2": "", "product_0_0": product}
        | {"wide": f"{'signed ' if wide.signed else ''}[{wide.width - 1}:0]"},
        helpers="function signed [63:0] wide_of(input signed [63:0] x);\n"
        f"wide_of = ((x + {literal(1 << (spec.shift - 1))}) >>> {spec.shift})"
        f" + {literal(spec.zero_point)}; endfunction\n"
        "function signed [63:0] held_of(input signed [63:0] x);\n"
        f"held_of = x < {low} ? {low} : x > {high} ? {high} : x; endfunction",
        carried={"product_in": (product, f"i__payload * 17'sd{spec.mult}")},
    )


def _shift_log2(spec: ShiftLog2Spec) -> Proof:
    unit = ShiftLog2(spec)
    return Proof(unit, lookup(table(shift_log2_code(spec), _inputs(unit))))


def _twin_uniform(spec: TwinUniformSpec, x: Shape) -> Proof:
    unit = TwinUniform(spec, x)
    turns = (0,) if spec.form == "gelu" else ()
    return Proof(unit, lookup(table(twin_uniform_code(spec), _inputs(unit), turns)))


def _horner(spec: HornerSpec) -> Proof:
    unit = Horner(spec)
    every = _inputs(unit)
    return Proof(unit, lookup(table(horner_code(spec), every, every[1:])))


_HALF: Final = ("+ $signed(2'h1)", "+ $signed(2'h0)")  # the half that rounds
_STALL: Final = ("load_3 = \\$3  | o__ready", "load_3 = 1'h1")  # the receiver is not waited for

CASES: Final[Mapping[str, Case]] = {
    "log2": Case("log2", lambda: _log2(Log2Spec()), 8, ("< 16'hb505", "< 16'hb506")),
    "log2_sqrt2": Case(
        "log2",
        lambda: _log2(Log2Spec(bits=8, steps_per_octave=2)),
        8,
        ("< 16'h9838", "< 16'h9837"),
    ),
    "requantize": Case(
        "requantize",
        lambda: _requantize(RequantizeSpec(45001, 23, -19, 6, signed=True), 16),
        6,
        ("29'h16c00000", "29'h16800000"),  # the half in the constant
    ),
    "twin_uniform_softmax": Case(
        "twin_uniform",
        lambda: _twin_uniform(TwinUniformSpec(32768, 25, 3, bits=6), unsigned(16)),
        10,
        _STALL,
    ),
    "twin_uniform_gelu": Case(
        "twin_uniform",
        lambda: _twin_uniform(TwinUniformSpec(45875, 19, 3, bits=5, form="gelu"), signed(12)),
        7,
        _HALF,
    ),
    "shift_log2": Case(
        "shift_log2",
        lambda: _shift_log2(ShiftLog2Spec(1393, 42480, 15, bits=4, steps_per_octave=2)),
        10,
        ("16'h9838", "16'h9839"),
    ),
    "horner": Case(
        "horner",
        lambda: _horner(HornerSpec((3, -40, 100), bits=8, frac=5)),
        6,
        ("$signed(12'hb10)", "$signed(12'hb0f)"),
    ),
}
"""Every unit that is proven, with its parameters. `proof().invariants` says which for all time."""
