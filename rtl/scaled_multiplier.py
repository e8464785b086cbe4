"""The product of a processing element that takes any code: multiplied, and shifted any distance."""

from amaranth.hdl import Module, ShapeLike, Signal, Value, signed, unsigned
from amaranth.lib import data

from hwq.numerics.pe import PeSpec


def layout(spec: PeSpec) -> dict[str, ShapeLike]:
    """Return what the element sees of a code."""
    significand = signed if spec.significand_signed else unsigned
    shift = range(max(spec.shift) + 1)
    return {"significand": significand(spec.significand_bits), "shift": shift}


def entry(spec: PeSpec, code: int) -> dict[str, int]:
    """Return the fields of one code."""
    return {"significand": spec.significand[code], "shift": spec.shift[code]}


def product(m: Module, spec: PeSpec, a: data.View, b: Value) -> Value:
    """Return significand times b, shifted."""
    full = Signal(signed(spec.significand_bits + spec.b_bits), name="product")
    m.d.comb += full.eq(a.significand * b)
    return full << a.shift
