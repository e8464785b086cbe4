"""The multiplier of a processing element: a product, and at most a choice of two shifts."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value, signed, unsigned
from amaranth.lib import data

from hwq.numerics.pe import PeSpec


def layout(spec: PeSpec) -> dict[str, ShapeLike]:
    """Return what the multiplier sees of a code."""
    significand = signed if spec.significand_signed else unsigned
    fields: dict[str, ShapeLike] = {"significand": significand(spec.significand_bits)}
    return fields | ({"shifted": 1} if spec.kind.shifts > 1 else {})


def entry(spec: PeSpec, code: int) -> dict[str, int]:
    """Return the fields of one code."""
    shifted = int(spec.shift[code] > min(spec.shift))
    return {"significand": spec.significand[code], "shifted": shifted}


def product(m: Module, spec: PeSpec, a: data.View, b: Value) -> Value:
    """Return significand times b, shifted."""
    full = Signal(signed(spec.significand_bits + spec.b_bits), name="product")
    m.d.comb += full.eq(a.significand * b)
    low, high = min(spec.shift), max(spec.shift)
    return full << low if low == high else Mux(a.shifted, full << high, full << low)
