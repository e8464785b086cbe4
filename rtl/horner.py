"""Gateware twin of hwq.numerics.horner."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Shape, ShapeLike, Signal, Value, signed
from amaranth.lib import data
from numpy.typing import NDArray

from hwq.numerics.horner import HornerSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit, saturated


def step_sum(product: Value, coefficient: Value | int, frac: int) -> Value:
    """Return product * 2**-frac to nearest, ties up, plus a coefficient: one adder for both."""
    half = 1 << (frac - 1)
    if isinstance(coefficient, int):
        return (product + ((coefficient << frac) + half)) >> frac
    return (product + Cat(Const(half, frac), coefficient).as_signed()) >> frac


class HornerStep(StreamUnit):
    """One step of Horner's rule: acc = sat(((acc*x + 2**(frac-1)) >> frac) + coefficient).

    Latency 2 cycles (multiply, add); one step per cycle.

    Ports: `i` and `o` are structures of `acc`, `x` and, if there is one, `side`, which passes
    through; `i` has also `coefficient` if that is not a constant.

    One multiplier of the two widths, one adder.

    Parameters
    ----------
    acc, x : Shape
        Shapes of the accumulator and of the variable.
    frac : int
        Fraction bits of x.
    coefficient : int, optional
        The coefficient, if it is a constant.
    side : ShapeLike
        What travels along; nothing by default.
    saturate : bool
        False if the sum is known to fit in `acc`.
    """

    def __init__(
        self,
        acc: Shape,
        x: Shape,
        frac: int,
        *,
        coefficient: int | None = None,
        side: ShapeLike | None = None,
        saturate: bool = True,
    ) -> None:
        self.frac, self.coefficient, self.saturate = frac, coefficient, saturate
        self.acc_shape = acc
        self.has_side = side is not None
        result = {"acc": acc, "x": x} | ({} if side is None else {"side": side})
        operand = result if coefficient is not None else {**result, "coefficient": acc}
        super().__init__(data.StructLayout(operand), data.StructLayout(result))

    @property
    def latency_cycles(self) -> int:
        """One register after the multiplier and one after the adder."""
        return 2

    def elaborate(self, platform: object) -> Module:
        """Return the two stages."""
        m = Module()
        p = Pipeline(m, self.i.valid, self.o.ready, depth=2)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage 1: multiply
        product = Signal((self.i.p.acc * self.i.p.x).shape())
        operand = Signal.like(self.i.p)
        with m.If(p.load[0]):
            m.d.sync += [product.eq(self.i.p.acc * self.i.p.x), operand.eq(self.i.p)]

        # stage 2: round half up, add, saturate
        given = self.coefficient
        coefficient = operand.coefficient if given is None else given
        rounded = step_sum(product, coefficient, self.frac)
        total = Signal(rounded.shape())
        m.d.comb += total.eq(rounded)
        acc = saturated(total, self.acc_shape) if self.saturate else total
        with m.If(p.load[1]):
            m.d.sync += [self.o.p.acc.eq(acc), self.o.p.x.eq(operand.x)]
            if self.has_side:
                m.d.sync += self.o.p.side.eq(operand.side)
        return m


class Horner(StreamUnit):
    """Polynomial of one variable with constant coefficients, in saturating fixed point.

    acc = c[0]; for every further c: acc = sat(((acc*x + 2**(frac-1)) >> frac) + c).

    Latency 2*degree cycles; one value per cycle.

    Ports: `i` signed(bits), x; `o` signed(bits), the value.

    `degree` multipliers of bits x bits.

    Parameters
    ----------
    spec : HornerSpec
        Coefficients and format.
    """

    def __init__(self, spec: HornerSpec) -> None:
        self.spec = spec
        super().__init__(signed(spec.bits), signed(spec.bits))

    @property
    def latency_cycles(self) -> int:
        """Two cycles per step."""
        return 2 * self.spec.degree

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] of `bits` bits -> int64[n]."""
        return self.spec.compute(inputs).astype(np.int64)

    def elaborate(self, platform: object) -> Module:
        """Return the chain of steps."""
        m = Module()
        shape = signed(self.spec.bits)
        first, *others = self.spec.coefficients
        valid, ready = self.i.valid, self.i.ready
        acc, x = first, self.i.payload
        for k, coefficient in enumerate(others):
            step = HornerStep(shape, shape, self.spec.frac, coefficient=coefficient)
            m.submodules[f"step_{k + 1}"] = step
            m.d.comb += [
                step.i.valid.eq(valid),
                ready.eq(step.i.ready),
                step.i.p.acc.eq(acc),
                step.i.p.x.eq(x),
            ]
            valid, ready = step.o.valid, step.o.ready
            acc, x = step.o.p.acc, step.o.p.x
        m.d.comb += [self.o.valid.eq(valid), ready.eq(self.o.ready), self.o.payload.eq(acc)]
        return m
