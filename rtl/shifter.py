"""The barrel shifter of a processing element, with a sign where codes have one."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data

from hwq.numerics.pe import PeSpec


def layout(spec: PeSpec) -> dict[str, ShapeLike]:
    """Return what the shifter sees of a code."""
    fields: dict[str, ShapeLike] = {"live": 1, "shift": max(max(spec.shift).bit_length(), 1)}
    return fields | ({"negative": 1} if spec.significand_signed else {})


def entry(spec: PeSpec, code: int) -> dict[str, int]:
    """Return the fields of one code."""
    significand = spec.significand[code]
    return {
        "live": int(significand != 0),
        "negative": int(significand < 0),
        "shift": spec.shift[code],
    }


def product(m: Module, spec: PeSpec, a: data.View, b: Value) -> Value:
    """Return b, its negative or nothing, shifted."""
    operand = Signal(signed(spec.b_bits + spec.significand_signed))
    m.d.comb += operand.eq(Mux(a.negative, -b, b) if spec.significand_signed else b)
    return Mux(a.live, operand << a.shift, 0)
