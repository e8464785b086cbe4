"""Gateware twin of hwq.numerics.pe."""

from collections.abc import Mapping, Sequence
from types import ModuleType

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.pe import PeSpec
from hwq.rtl import multiplier, scaled_multiplier, shifter

FAMILIES: Mapping[str, ModuleType] = {
    "multiplier": multiplier,
    "shifter": shifter,
    "scaled_multiplier": scaled_multiplier,
}
"""Makers of a product by the family of a kind: `layout`, `entry` and `product`."""


def decoded_layout(spec: PeSpec) -> data.StructLayout:
    """Return what an element sees of a code. All bits zero make the product zero, for any kind."""
    fields = FAMILIES[spec.kind.family].layout(spec)
    return data.StructLayout(fields | ({"plane": 1} if spec.planes > 1 else {}))


def decoded(spec: PeSpec, code: Value) -> Value:
    """Return `code` as bits of `decoded_layout`: wires if the code is its own significand."""
    layout, family = decoded_layout(spec), FAMILIES[spec.kind.family]
    codes = range(1 << spec.a_bits)
    plain = [value & ((1 << spec.significand_bits) - 1) for value in spec.significand]
    if [name for name, _ in layout] == ["significand"] and plain == list(codes):
        return code
    table = 0
    for entry in codes:
        fields = family.entry(spec, entry) | {"plane": spec.plane[entry]}
        bits = layout.const({name: fields[name] for name, _ in layout}).as_bits()
        table |= bits << (entry * layout.size)
    return Const(table, len(codes) * layout.size).word_select(code, layout.size)


def products(m: Module, spec: PeSpec, a: data.View, b: Value) -> list[Value]:
    """Return what a decoded code and b add to every accumulator."""
    shifted = Signal(signed(spec.product_bits))
    m.d.comb += shifted.eq(FAMILIES[spec.kind.family].product(m, spec, a, b))
    if spec.planes == 1:
        return [shifted]
    return [Mux(a.plane, 0, shifted), Mux(a.plane, shifted, 0)]


class StationaryPe(wiring.Component):
    """An element that keeps one operand and passes sums down: sum_out = sum_in + left * kept.

    The operand to come is shifted down the column into `top_out` while `load` is high, and becomes
    the one that is kept with `swap`. Every output is a register: one cycle.

    Ports: `left`, `top` the operands, one decoded and one signed(b_bits); `load`, `swap`; `sums`
    signed(acc_bits) per plane; each with `_in` and `_out`.

    A multiplier or barrel shifter, an adder per plane; the accumulator is in the column's sums.

    Parameters
    ----------
    spec : PeSpec
    keeps_a : bool
        Whether a stays and b streams, or the reverse.
    """

    def __init__(self, spec: PeSpec, keeps_a: bool = False) -> None:
        self.spec, self.keeps_a = spec, keeps_a
        a, b = decoded_layout(spec), signed(spec.b_bits)
        sums = data.ArrayLayout(signed(spec.acc_bits), spec.planes)
        super().__init__(
            _both_ways(left=b if keeps_a else a, top=a if keeps_a else b, sums=sums, load=1, swap=1)
        )

    def elaborate(self, platform: object) -> Module:
        """Return the element."""
        m = Module()
        m.d.sync += [
            self.left_out.eq(self.left_in),
            self.load_out.eq(self.load_in),
            self.swap_out.eq(self.swap_in),
        ]
        kept = Signal.like(self.top_in)
        with m.If(self.load_in):
            m.d.sync += self.top_out.eq(self.top_in)
        with m.If(self.swap_in):
            m.d.sync += kept.eq(self.top_out)
        a, b = (kept, self.left_in) if self.keeps_a else (self.left_in, kept)
        for plane, product in enumerate(products(m, self.spec, a, b)):
            m.d.sync += self.sums_out[plane].eq(self.sums_in[plane] + product)
        return m


class AccumulatingPe(wiring.Component):
    """An element that keeps its sums: acc = (first ? 0 : acc) + left * top.

    With `take` the sums, as they are before the clock edge, move to `sums_out`, to be shifted down
    the column while `shift` is high. Every output is a register: one cycle.

    Ports: `left` the decoded code, `top` signed(b_bits); `first`, `take`, `shift`; `sums`
    signed(acc_bits) per plane; each with `_in` and `_out`.

    A multiplier or barrel shifter; an adder and two registers per plane.

    Parameters
    ----------
    spec : PeSpec
    """

    keeps_a = False

    def __init__(self, spec: PeSpec) -> None:
        self.spec = spec
        sums = data.ArrayLayout(signed(spec.acc_bits), spec.planes)
        super().__init__(
            _both_ways(
                left=decoded_layout(spec),
                top=signed(spec.b_bits),
                sums=sums,
                first=1,
                take=1,
                shift=1,
            )
        )

    def elaborate(self, platform: object) -> Module:
        """Return the element."""
        m = Module()
        m.d.sync += [
            self.left_out.eq(self.left_in),
            self.top_out.eq(self.top_in),
            self.first_out.eq(self.first_in),
            self.take_out.eq(self.take_in),
            self.shift_out.eq(self.shift_in),
        ]
        acc = [Signal(signed(self.spec.acc_bits), name=f"acc_{p}") for p in range(self.spec.planes)]
        added: Sequence[Value] = products(m, self.spec, self.left_in, self.top_in)
        for plane, product in enumerate(added):
            before = Mux(self.first_in, 0, acc[plane])
            m.d.sync += acc[plane].eq(before + product)
            with m.If(self.take_in):
                m.d.sync += self.sums_out[plane].eq(acc[plane])
            with m.Elif(self.shift_in):
                m.d.sync += self.sums_out[plane].eq(self.sums_in[plane])
        return m


def _both_ways(**shapes: ShapeLike) -> dict[str, wiring.Member]:
    """Return an input and an output of every shape."""
    ports = {f"{name}_in": In(shape) for name, shape in shapes.items()}
    return ports | {f"{name}_out": Out(shape) for name, shape in shapes.items()}
