# amaranth: UnusedElaboratable=no
"""The elements of an array, with the registers that skew its operands and align its results."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.array import ArraySpec
from hwq.rtl.pe import AccumulatingPe, StationaryPe, decoded_layout
from hwq.rtl.pipeline import delayed
from hwq.rtl.shared import share


def staged(m: Module, value: ValueLike, count: int) -> list[Value]:
    """Return `value` after 0, 1 .. count - 1 registers of one chain."""
    stages = [Value.cast(value)]
    for _ in range(count - 1):
        stages.append(delayed(m, stages[-1], 1))
    return stages


class ArrayGrid(wiring.Component):
    """rows x columns elements.

    A left word that enters at cycle t meets in row r, column c what is there at t + r + c, and the
    words of results leave at t + rows + columns - 1 and later.

    Ports: `left`, `top` a word of each operand; `begin` high with the first left word of a fold
    (output_stationary) or one cycle before it (else); `load` or `take`: see the elements; `sums` a
    word of results, per column and plane.

    Parameters
    ----------
    spec : ArraySpec
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        self.stationary = spec.dataflow != "output_stationary"
        pe = spec.pe
        a, b = decoded_layout(pe), signed(pe.b_bits)
        left, top = (a, b) if spec.a_is_left else (b, a)
        sums = data.ArrayLayout(signed(pe.acc_bits), pe.planes)
        self.controls = ("begin", "load", "load_begin") if self.stationary else ("begin", "take")
        super().__init__(
            {
                "left": In(data.ArrayLayout(left, spec.rows)),
                "top": In(data.ArrayLayout(top, spec.columns)),
                **{name: In(1) for name in self.controls},
                "sums": Out(data.ArrayLayout(sums, spec.columns)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the grid."""
        m = Module()
        rows, columns = self.spec.rows, self.spec.columns
        controls = self._stationary_controls(m) if self.stationary else self._taking_controls(m)
        above: list[StationaryPe | AccumulatingPe] = []
        for r in range(rows):
            row = [self._element() for _ in range(columns)]
            for c, pe in enumerate(row):
                m.submodules[f"pe_{r}_{c}"] = share(platform, pe)
                if c == 0:
                    m.d.comb += _bits(pe.left_in).eq(delayed(m, self.left[r], r))
                    m.d.comb += [getattr(pe, f"{n}_in").eq(s[r]) for n, s in controls.items()]
                else:
                    before = row[c - 1]
                    m.d.comb += _bits(pe.left_in).eq(before.left_out)
                    m.d.comb += [
                        getattr(pe, f"{n}_in").eq(getattr(before, f"{n}_out")) for n in controls
                    ]
                if r == 0:
                    m.d.comb += _bits(pe.top_in).eq(delayed(m, self.top[c], c))
                else:
                    m.d.comb += _bits(pe.top_in).eq(above[c].top_out)
                    m.d.comb += _bits(pe.sums_in).eq(above[c].sums_out)
            above = row
        for c, pe in enumerate(above):
            m.d.comb += _bits(self.sums[c]).eq(delayed(m, pe.sums_out, columns - 1 - c))
        return m

    def _element(self) -> StationaryPe | AccumulatingPe:
        if self.stationary:
            return StationaryPe(self.spec.pe, keeps_a=not self.spec.a_is_left)
        return AccumulatingPe(self.spec.pe)

    def _stationary_controls(self, m: Module) -> dict[str, list[Value]]:
        """Row r loads in all cycles of a load but the first r: then its own word has come down."""
        rows = self.spec.rows
        before = Signal(rows)
        now = Signal(rows)
        m.d.comb += now.eq(
            Cat(self.load, Mux(self.load_begin, 0, before) & self.load.replicate(rows))
        )
        m.d.sync += before.eq(now)
        return {"load": list(now), "swap": staged(m, self.begin, rows)}

    def _taking_controls(self, m: Module) -> dict[str, list[Value]]:
        """Once the last row has taken its sums, row r shifts for r cycles."""
        rows = self.spec.rows
        take, first = staged(m, self.take, rows), staged(m, self.begin, rows)
        shift = Signal(rows)
        full = (1 << rows) - 2
        with m.If(take[-1]):
            m.d.sync += shift.eq(full)
        with m.Else():
            m.d.sync += shift.eq(shift << 1)
        return {"first": first, "take": take, "shift": list(shift)}


def _bits(value: ValueLike) -> Value:
    """Return a view as plain bits."""
    return Value.cast(value)
