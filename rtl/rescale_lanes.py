# amaranth: UnusedElaboratable=no
"""Words of an epilogue's parameters, all lanes times the factor of an image."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.numerics.epilogue import ADDEND_BITS
from hwq.numerics.rescale import MANTISSA_FRAC, RescaleSpec
from hwq.rtl.epilogue import SCALING
from hwq.rtl.pipeline import delayed
from hwq.rtl.rescale import Rescale
from hwq.rtl.shared import share

RESCALE_SETTINGS = data.StructLayout({"is_scale": 1, "corrects": 1, "slot": 8})
_FACTOR = data.StructLayout({"mantissa": 16, "exponent": signed(16)})


class RescaleLanes(wiring.Component):
    """mult times a factor; the bias times one over it, if the factor is a scale, and a correction.

    Latency that of `Rescale`; a word a cycle (`hwq.numerics.epilogue.Factor`).

    Ports:

    * `settings`: `is_scale`, whether the factor is a scale or its reciprocal; `corrects`, whether
      there are corrections; `slot`, which four of the pieces are those of the scale;
    * `i`: `valid`; `pieces`, signed(17) per lane, in 16 bits: of every scale mantissa and exponent,
      and those of its reciprocal; `words` and `corrections`, of each lane in the lowest bits
      `SCALING`, and an addend;
    * `o`: `valid`, `words`.

    Parameters
    ----------
    lanes : int
        At least 4.
    room : int
        Bits that a lane has.
    """

    def __init__(self, lanes: int, room: int) -> None:
        self.lanes, self.room = lanes, room
        words = data.ArrayLayout(room, lanes)
        given = {
            "valid": Out(1),
            "pieces": Out(data.ArrayLayout(signed(17), lanes)),
            "words": Out(words),
            "corrections": Out(words),
        }
        super().__init__(
            {
                "settings": In(RESCALE_SETTINGS),
                "i": In(wiring.Signature(given)),
                "o": Out(wiring.Signature({"valid": Out(1), "words": Out(words)})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return a unit for each lane, and what goes beside it."""
        m = Module()
        is_scale = self.settings.is_scale
        pair, factor, inverse = Signal(64), Signal(_FACTOR), Signal(_FACTOR)
        pieces = Cat(piece[:16] for piece in self.i.pieces)
        m.d.comb += [
            pair.eq(pieces.word_select(self.settings.slot, 64)),
            Value.cast(factor).eq(Mux(is_scale, pair[:32], pair[32:])),
            # where codes are made, the bias takes none
            Value.cast(inverse).eq(Mux(is_scale, pair[32:], 1 << MANTISSA_FRAC)),
        ]
        units = [Rescale(RescaleSpec(ADDEND_BITS)) for _ in range(self.lanes)]
        for lane, unit in enumerate(units):
            m.submodules[f"rescale_{lane}"] = share(platform, unit)
            scaling = data.View(SCALING, self.i.words[lane][: SCALING.size])
            result = Signal(SCALING, name=f"scaling_{lane}")
            corrected = Mux(self.settings.corrects, self.i.corrections[lane][:ADDEND_BITS], 0)
            correction = delayed(m, corrected, unit.latency_cycles)
            m.d.comb += [
                unit.i.valid.eq(self.i.valid),
                unit.o.ready.eq(1),
                unit.i.p.mult.eq(scaling.mult),
                unit.i.p.shift.eq(scaling.shift),
                unit.i.p.mantissa.eq(factor.mantissa),
                unit.i.p.exponent.eq(factor.exponent),
                unit.i.p.bias.eq(scaling.addend),
                unit.i.p.bias_mantissa.eq(inverse.mantissa),
                unit.i.p.bias_exponent.eq(inverse.exponent),
                result.mult.eq(unit.o.p.mult),
                result.shift.eq(unit.o.p.shift),
                result.addend.eq(unit.o.p.bias + correction.as_signed()),
                result.zero_point.eq(delayed(m, scaling.zero_point, unit.latency_cycles)),
                self.o.words[lane].eq(Value.cast(result)),
            ]
        m.d.comb += self.o.valid.eq(units[0].o.valid)
        return m
