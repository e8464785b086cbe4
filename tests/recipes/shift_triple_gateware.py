"""Gateware twin of shift_triple: b or b + 2 b, shifted."""

from amaranth.hdl import Module, Mux, ShapeLike, Value
from amaranth.lib import data

from hwq.numerics.pe import PeSpec


def layout(spec: PeSpec) -> dict[str, ShapeLike]:
    """Return what the element sees of a code."""
    return {"live": 1, "triple": 1, "shift": 4}


def entry(spec: PeSpec, code: int) -> dict[str, int]:
    """Return the fields of one code."""
    value = spec.significand[code]
    return {"live": int(value > 0), "triple": int(value == 3), "shift": spec.shift[code]}


def product(m: Module, spec: PeSpec, a: data.View, b: Value) -> Value:
    """Return b or three times b, shifted."""
    return Mux(a.live, Mux(a.triple, b + (b << 1), b) << a.shift, 0)
