"""Gateware that decodes codes for any processing element: what kind of codes is a setting."""

from collections.abc import Iterator
from enum import IntEnum
from itertools import product

import numpy as np
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from hwq.errors import SpecError, require
from hwq.numerics.pe import MAX_SHIFT, CodeTables, PeKind, PeSpec
from hwq.rtl.pipeline import settled

CODE = signed(9)
"""A code of at most 8 bits, of either sign, as it is stored."""
DECODED = data.StructLayout({"significand": signed(9), "shift": range(MAX_SHIFT + 1), "plane": 1})
"""What an element of any kind sees of a code: all bits zero make the product zero."""


def any_element(b_bits: int = 8, acc_bits: int = 32) -> PeSpec:
    """Return the element of an array that runs every kind of code, once it is decoded.

    Its tables have every significand, shift and plane; no code is looked up in them.
    """
    codes = range(1 << CODE.width)
    half = len(codes) // 2
    return PeSpec(
        PeKind("any", "scaled_multiplier", lambda bits: CodeTables(), MAX_SHIFT + 1, planes=2),
        *(CODE.width, b_bits, acc_bits),
        tuple(code - len(codes) * (code >= half) for code in codes),
        tuple(code % (MAX_SHIFT + 1) for code in codes),
        tuple(code % 2 for code in codes),
    )


class Meaning(IntEnum):
    """What a code is."""

    SIGNIFICAND = 0
    """Its own significand: uniform codes."""
    TWIN = 1
    """A magnitude and above it a flag, for a shift by `shift`; `negative` without the flag."""
    LEVEL = 2
    """2**(shift - ceil(level / steps)) with level = code + offset; `rest` beyond `max_level`."""


DECODER_SETTINGS = data.StructLayout(
    {
        "kind": Meaning,
        "shift": range(MAX_SHIFT + 1),
        "flag": range(8),
        "negative": 1,
        "two_steps": 1,
        "offset": range(2 * MAX_SHIFT + 1),
        "max_level": range(2 * MAX_SHIFT + 2),
        "rest": 1,
    }
)


class CodeDecoder(wiring.Component):
    """Significand, shift and plane of a code, without a register.

    Ports: `code` signed(9), `decoded` (`DECODED`), `settings` (`decoder_settings`).

    Two adders and a few multiplexers.
    """

    def __init__(self) -> None:
        super().__init__(
            {"code": In(CODE), "settings": In(DECODER_SETTINGS), "decoded": Out(DECODED)}
        )

    def elaborate(self, platform: object) -> Module:
        """Return all three decoders and the choice."""
        m = Module()
        s, code = self.settings, self.code
        flagged, magnitude = Signal(), Signal(unsigned(8))
        bit = Signal(unsigned(8))
        m.d.comb += [
            bit.eq(1 << s.flag),
            flagged.eq((code & bit).any()),
            magnitude.eq(code & (bit - 1)),
        ]
        level, lives = Signal(unsigned(9)), Signal()
        m.d.comb += [
            level.eq(code[:8] + s.offset),
            lives.eq(level <= s.max_level),
        ]
        exponent = Mux(s.two_steps, (level + 1) >> 1, level)
        with m.Switch(s.kind):
            with m.Case(Meaning.SIGNIFICAND):
                m.d.comb += self.decoded.significand.eq(code)
            with m.Case(Meaning.TWIN):
                m.d.comb += [
                    self.decoded.significand.eq(Mux(s.negative & ~flagged, -magnitude, magnitude)),
                    self.decoded.shift.eq(Mux(flagged, s.shift, 0)),
                ]
            with m.Case(Meaning.LEVEL):
                m.d.comb += [
                    self.decoded.significand.eq(lives | s.rest),
                    self.decoded.shift.eq(Mux(lives, s.shift - exponent, 0)),
                    self.decoded.plane.eq(lives & s.two_steps & level[0]),
                ]
        return m


def decoder_settings(pe: PeSpec) -> dict[str, int]:
    """Return the settings under which `CodeDecoder` gives what the tables of an element say.

    Raises
    ------
    SpecError
        For tables that it does not give, and codes of more than 8 bits.
    """
    require(pe.a_bits <= 8, f"a_bits of a decoder must be at most 8, not {pe.a_bits}")
    wanted = np.array([pe.significand, pe.shift, pe.plane])
    for guess in _guesses(pe):
        settings = settled(DECODER_SETTINGS, **guess)
        if (decoded(settings, pe) == wanted).all():
            return settings
    raise SpecError(f"no decoder has the tables of this element of kind {pe.kind.name}")


def is_signed(pe: PeSpec) -> bool:
    """Whether a buffer must give the codes of an element with their sign."""
    return decoder_settings(pe)["kind"] == Meaning.SIGNIFICAND and min(pe.significand) < 0


def decoded(settings: dict[str, int], pe: PeSpec) -> NDArray[np.int64]:
    """Return significand, shift and plane of every code of an element: int64[3, 2**a_bits]."""
    codes = np.arange(1 << pe.a_bits)
    zero = np.zeros_like(codes)
    if settings["kind"] == Meaning.SIGNIFICAND:
        signed_codes = codes - (codes >= 1 << (pe.a_bits - 1)) * (1 << pe.a_bits)
        return np.stack([signed_codes if min(pe.significand) < 0 else codes, zero, zero])
    if settings["kind"] == Meaning.TWIN:
        flags, magnitudes = codes >> settings["flag"], codes & ((1 << settings["flag"]) - 1)
        negative = (flags == 0) & bool(settings["negative"])
        return np.stack(
            [np.where(negative, -magnitudes, magnitudes), flags * settings["shift"], zero]
        )
    level, steps = codes + settings["offset"], settings["two_steps"] + 1
    lives = level <= settings["max_level"]
    shift = settings["shift"] - -(-level // steps)
    significand = lives | bool(settings["rest"])
    return np.stack([significand, np.where(lives, shift, 0), np.where(lives, level % steps, 0)])


def _guesses(pe: PeSpec) -> Iterator[dict[str, int]]:
    """Yield all settings whose tables have something of those of an element."""
    yield {"kind": Meaning.SIGNIFICAND.value}
    twin = {"kind": Meaning.TWIN.value, "shift": max(pe.shift), "flag": pe.a_bits - 1}
    yield twin
    yield {**twin, "negative": 1}
    rest = int(pe.significand[-1] != 0)
    # the last code that lives may be 1 << 0, as the rest is
    lives = np.count_nonzero(pe.shift) + 1 if rest else np.count_nonzero(pe.significand)
    for two_steps, offset in product((0, 1), range(2 * MAX_SHIFT + 1)):
        shift = pe.shift[0] + -(-offset // (two_steps + 1))
        most = offset + int(lives) - 1
        if lives and shift <= MAX_SHIFT and most <= 2 * MAX_SHIFT + 1:
            level = {"two_steps": two_steps, "offset": offset, "max_level": most, "rest": rest}
            yield {"kind": Meaning.LEVEL.value, "shift": shift, **level}
