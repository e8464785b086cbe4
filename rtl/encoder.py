"""Gateware that encodes for every quantizer: what kind of codes is a setting."""

from collections.abc import Sequence
from enum import IntEnum
from functools import singledispatch

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In

from hwq.errors import require
from hwq.numerics.epilogue import GUARD_BITS, Epilogue
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.requantize import MULT_BITS, SHIFT_BITS, RequantizeSpec
from hwq.numerics.shift_log2 import FRACTION_BITS, ShiftLog2Spec
from hwq.numerics.shift_uniform_log2 import ShiftUniformLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.numerics.uniform import UniformSpec
from hwq.rtl.epilogue import SCALING
from hwq.rtl.pipeline import Pipeline, StreamUnit, settled, within
from hwq.rtl.wide import (
    carried,
    part_products,
    register,
    rounded,
    shifted_far,
    shifted_near,
    total,
)

CODE_STAGES, LOG_STAGES = 8, 4
MULT_STAGE, SHIFT_STAGE = 1, 3
"""Registers ahead of where `mult` and `shift` are taken, which may be other ones for each code."""
"""Of every code, and of what follows where it is a logarithm."""

ELEMENT = signed(24)
"""What is encoded: 16-bit fixed point or probabilities, and 24 bits of an activation."""
CODE = signed(9)
"""Codes of at most 8 bits, of either sign."""
_ADDEND, _HELD = signed(31), signed(FRACTION_BITS + 1)
_LARGEST = (1 << FRACTION_BITS) - 1
# mantissas at which the level drops, of one and of two steps an octave
_ONE_STEP, _TWO_STEPS = (Log2Spec(steps_per_octave=steps).thresholds for steps in (1, 2))


class CodeKind(IntEnum):
    """What becomes of y = (x + addend) * mult * 2**-shift + zero_point, rounded half up."""

    UNIFORM = 0
    """y, held in lo..hi."""
    TWIN_BY_SIZE = 1
    """y, or where that is above `top` a coarser one with a flag: softmax."""
    TWIN_BY_SIGN = 2
    """-y, or where x >= 0 a coarser one with a flag: GELU."""
    LOG2 = 3
    """Minus the logarithm of y, held in lo..hi, as a fraction of 2**16."""


ENCODER_SETTINGS = data.StructLayout(
    {
        "kind": CodeKind,
        "addend": _ADDEND,
        "mult": unsigned(MULT_BITS),
        "shift": unsigned(SHIFT_BITS),
        "zero_point": _HELD,
        "lo": _HELD,
        "hi": _HELD,
        # how much more a table's multiplier is shifted than `shift`
        "guard": range(GUARD_BITS + 1),
        # twin uniform codes: the coarse scale is 2**m times the fine one; largest magnitude
        "m": range(16),
        "top": range(1 << 7),
        # logarithms: two steps an octave, level of code 0, last level, code of zero
        "two_steps": 1,
        "offset": range(32),
        "max_level": range(32),
        "zero_code": range(1 << 8),
    }
)


class Encoder(StreamUnit):
    """Codes of one element for any quantizer; the formulas are those of `hwq.numerics`.

    Latency 8 cycles, 12 of logarithms; one code per cycle. Product and shift take two each, and the
    choice of a range two, as comparing and selecting of 49 bits in one would be the longest.

    Ports: `i` an element, signed(24); `o` its code, signed(9); `settings` (`encoder_settings`).

    A multiplier of 32 x 16 bits, three shifters and comparators.
    """

    def __init__(self) -> None:
        super().__init__(ELEMENT, CODE, {"settings": In(ENCODER_SETTINGS)})

    @property
    def latency_cycles(self) -> int:
        """Of logarithms: add, multiply in 2, shift in 2, compare, select, hold; and four more."""
        return CODE_STAGES + LOG_STAGES

    def elaborate(self, platform: object) -> Module:
        """Return the stages; logarithms go through four more."""
        m = Module()
        is_log = self.settings.kind == CodeKind.LOG2
        logs_ready = Signal()
        front = Pipeline(m, self.i.valid, Mux(is_log, logs_ready, self.o.ready), CODE_STAGES)
        held = self._held(m, front.load)
        back = Pipeline(m, front.valid[-1] & is_log, self.o.ready, LOG_STAGES)
        code = self._logarithm(m, back.load, held[:FRACTION_BITS])
        m.d.comb += [
            self.i.ready.eq(front.ready),
            logs_ready.eq(back.ready),
            self.o.valid.eq(Mux(is_log, back.valid[-1], front.valid[-1])),
            self.o.payload.eq(Mux(is_log, code, held)),
        ]
        return m

    def _held(self, m: Module, load: Sequence[Value]) -> Value:
        """Stages 1 to 8: the uniform or twin uniform code, or the fraction."""
        s = self.settings
        by_sign = s.kind == CodeKind.TWIN_BY_SIGN
        is_twin = by_sign | (s.kind == CodeKind.TWIN_BY_SIZE)
        # of settings, which stay: the least code of the coarse range, and its distance
        first, coarse_shift = Signal(range((1 << 7) + 1)), Signal(SHIFT_BITS + 1)
        m.d.sync += [first.eq(s.top + 1), coarse_shift.eq(s.shift + s.m)]

        # stages 1 to 3: |x + addend| < 2**31; the sign goes along
        positive = carried(m, load[:5], ~self.i.payload[-1], "positive")
        x = register(m, load[0], self.i.payload + s.addend, "x")
        products = part_products(m, load[1], x, s.mult, "product")
        product = register(m, load[2], total(products), "product", (x * s.mult).shape())

        # stages 4 and 5: round half up, in both ranges; coarse codes begin at `first`
        ranges = []
        for name, shift, addend in (
            ("fine", s.shift, s.zero_point),
            ("coarse", coarse_shift, first),
        ):
            far = register(m, load[3], shifted_far(product << 1, shift), f"{name}_far")
            shift_4 = register(m, load[3], shift, f"{name}_shift")
            near = rounded(shifted_near(far, shift_4), addend)
            ranges.append(register(m, load[4], near, name, product.shape()))
        fine, coarse = ranges

        # stage 6: which range
        large = _exceeds(fine, s.top) & _exceeds(coarse, first)
        flag = register(m, load[5], Mux(by_sign, positive, large) & is_twin, "flag")
        signed_fine = register(
            m, load[5], Mux(by_sign, -fine, fine), "signed_fine", product.shape()
        )
        coarse = register(m, load[5], coarse, "flagged")

        # stages 7 and 8: select, and hold
        value = register(m, load[6], Mux(flag, coarse, signed_fine), "value")
        ends = [
            register(m, load[6], Mux(flag, of_flag, Mux(is_twin, of_twin, end)), name, _HELD)
            for name, of_flag, of_twin, end in (
                ("least", first, 0, s.lo),
                ("most", s.top + first, s.top, s.hi),
            )
        ]
        return register(m, load[7], within(value, *ends), "held", _HELD)

    def _logarithm(self, m: Module, load: Sequence[Value], fraction: Value) -> Value:
        """Stages 9 to 12, as `hwq.rtl.log2`."""
        s = self.settings

        # stage 9: leading one; the last assignment wins, so the highest bit does
        lead = Signal(range(16))
        for k in range(FRACTION_BITS):
            with m.If(fraction[k]):
                m.d.comb += lead.eq(k)
        x, left = register(m, load[0], fraction, "x_log"), register(m, load[0], 15 - lead, "left")

        # stage 10: normalised mantissa
        mantissa = register(m, load[1], x << left[:4], "mantissa", unsigned(16))
        zero = carried(m, load[1:3], x == 0, "zero")
        octaves = register(m, load[1], left[:4] + 1, "octaves")

        # stage 11: against the thresholds
        one, two = (
            sum((mantissa >= threshold for threshold in thresholds), start=0)
            for thresholds in (_ONE_STEP, _TWO_STEPS)
        )
        steps = Mux(s.two_steps, 2 * octaves - two, octaves - one)
        level = register(m, load[2], steps, "level", Shape.cast(range(33)))

        # stage 12: offset and clamp
        shifted = Mux(level < s.offset, 0, level - s.offset)
        code = Mux(zero | (level > s.max_level), s.zero_code, shifted)
        return register(m, load[3], code, "code", unsigned(8))


def _exceeds(value: Value, bound: Value) -> Value:
    """Return whether a signed value is above a bound without sign, by as many bits as that has."""
    return ~value[-1] & (value[len(bound) :].any() | (value[: len(bound)] > bound))


def tabled(m: Module, settings: data.View, is_tabled: Value, word: Value) -> data.View:
    """Return settings of a layer, or the same ones with the multiplier of a word of its table."""
    own, scaling = Signal(ENCODER_SETTINGS), data.View(SCALING, word[: SCALING.size])
    m.d.comb += own.eq(settings)
    with m.If(is_tabled):
        m.d.comb += [
            own.mult.eq(scaling.mult),
            own.shift.eq(scaling.shift - settings.guard),
            own.zero_point.eq(scaling.zero_point),
        ]
    return own


def encoder_settings(spec: object) -> dict[str, int]:
    """Return the settings under which `Encoder` gives the codes of a spec.

    Raises
    ------
    SpecError
        For a spec whose codes it does not give: uniform ones have 8 bits at most.
    """
    return settled(ENCODER_SETTINGS, **_settings(spec))


@singledispatch
def _settings(spec: object) -> dict[str, int]:
    require(False, f"an encoder must be that of a quantizer, not {type(spec).__name__}")
    raise AssertionError


@_settings.register
def _(spec: UniformSpec) -> dict[str, int]:
    require(spec.bits < CODE.width, f"bits must be at most {CODE.width - 1}, not {spec.bits}")
    low = -(1 << (spec.bits - 1)) if spec.signed else 0
    return _scaled(spec.unit) | {
        "kind": CodeKind.UNIFORM,
        "lo": low,
        "hi": low + (1 << spec.bits) - 1,
    }


@_settings.register
def _(spec: Epilogue) -> dict[str, int]:
    values = {name: np.unique(array) for name, array in spec.parameters().items()}
    several = [name for name, array in values.items() if array.size > 1]
    require(not several, f"an encoder has one {' and '.join(several)}, not one a channel")
    addend, mult, shift, zero_point = (int(array[0]) for array in values.values())
    require(addend == 0 or spec.guard == 0, "an encoder adds before it shifts")
    for name, end in (("lo", spec.lo), ("hi", spec.hi)):
        most = 1 << (CODE.width - 1)
        require(-most <= end < most, f"{name} must be in {-most}..{most - 1}, not {end}")
    held = {"kind": CodeKind.UNIFORM, "lo": spec.lo, "hi": spec.hi}
    if spec.factor is not None:
        require(addend == 0, "what is rescaled for an image has no addend")
        return held | {"guard": spec.guard}
    return held | {
        "addend": addend,
        "mult": mult,
        "shift": shift - spec.guard,
        "zero_point": zero_point,
    }


@_settings.register
def _(spec: TwinUniformSpec) -> dict[str, int]:
    kind = CodeKind.TWIN_BY_SIGN if spec.form == "gelu" else CodeKind.TWIN_BY_SIZE
    return {"kind": kind, "mult": spec.mult, "shift": spec.shift, "m": spec.m, "top": spec.top}


@_settings.register
def _(spec: Log2Spec) -> dict[str, int]:
    # a fraction of fewer bits is shifted up; one of 16 is itself
    up = 1 << (FRACTION_BITS - spec.in_bits)
    return {"kind": CodeKind.LOG2, "mult": up, "shift": 0, "hi": _LARGEST} | _levels(spec)


@_settings.register
def _(spec: ShiftLog2Spec) -> dict[str, int]:
    whole = {"kind": CodeKind.LOG2, "addend": spec.shift_add, "hi": _LARGEST}
    return whole | _scaled(spec.fraction) | _levels(spec.log2)


@_settings.register
def _(spec: ShiftUniformLog2Spec) -> dict[str, int]:
    # max(min(f, most), 0) + eta, which saturates, is f + eta held in eta..most
    held = {"kind": CodeKind.LOG2, "lo": spec.eta, "hi": _LARGEST}
    return held | _scaled(spec.fraction) | _levels(spec.log2) | {"zero_point": spec.eta}


def _scaled(unit: RequantizeSpec) -> dict[str, int]:
    return {"mult": unit.mult, "shift": unit.shift, "zero_point": unit.zero_point}


def _levels(log2: Log2Spec) -> dict[str, int]:
    return {
        "two_steps": log2.steps_per_octave - 1,
        "offset": log2.offset,
        "max_level": log2.max_level,
        "zero_code": log2.zero_code,
    }
