"""Ranges of token streams, a word of channels at a time; how many tokens there are is a setting."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwq.errors import require
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.rtl.pipeline import delayed, settled

RANGE_SETTINGS = data.StructLayout({"chunk_tokens": 16, "tokens": 16})
_RANGE = signed(32)


class RangeCore(wiring.Component):
    """range[c] = sum over chunks of (max - min) of channel c over the chunk's tokens.

    Takes a word of channels of all tokens, token by token, then the next word. Latency 3 cycles,
    to the second half of a word's ranges.

    Ports:

    * `settings` (`range_settings`);
    * `i`: `valid`, and `elements`, signed(17) per lane, in 16 bits;
    * `o`: `valid`, and `pieces`, unsigned(16) per lane: the ranges of a word are 32 bits each, the
      lower piece first, and leave in two words.

    Of each lane two comparators, two adders, and registers of 80 bits; no memory.

    Parameters
    ----------
    lanes : int
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        elements = {"valid": Out(1), "elements": Out(data.ArrayLayout(signed(17), lanes))}
        pieces = {"valid": Out(1), "pieces": Out(data.ArrayLayout(16, lanes))}
        super().__init__(
            {
                "settings": In(RANGE_SETTINGS),
                "i": In(wiring.Signature(elements)),
                "o": Out(wiring.Signature(pieces)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the counters and the two stages."""
        m = Module()
        s, valid = self.settings, self.i.valid
        token, row = Signal(16), Signal(16)
        opens, closes, ends = token == 0, token + 1 == s.chunk_tokens, row + 1 == s.tokens
        with m.If(valid):
            m.d.sync += [token.eq(Mux(closes, 0, token + 1)), row.eq(Mux(ends, 0, row + 1))]
        closed = delayed(m, valid & closes, 1)
        is_first, is_last = delayed(m, row < s.chunk_tokens, 1), delayed(m, ends, 1)
        sums: list[Value] = []
        for lane in range(self.lanes):
            x = self.i.elements[lane][:16].as_signed()
            # stage 1: extrema of the chunk so far
            low, high, total = (
                Signal(shape, name=f"{name}_{lane}")
                for name, shape in (("low", signed(16)), ("high", signed(16)), ("sum", _RANGE))
            )
            with m.If(valid):
                m.d.sync += [
                    low.eq(Mux(opens | (x < low), x, low)),
                    high.eq(Mux(opens | (x > high), x, high)),
                ]
            # stage 2: the chunk's range is added; below 2**31 for 2**15 chunks
            with m.If(closed):
                m.d.sync += total.eq(Mux(is_first, 0, total) + (high - low))
            sums.append(total)
        whole = Cat(sums)
        done = delayed(m, closed & is_last, 1)
        half = len(whole) // 2
        second = delayed(m, whole[half:], 1)
        m.d.comb += [
            self.o.valid.eq(done | delayed(m, done, 1)),
            Value.cast(self.o.pieces).eq(Mux(done, whole[:half], second)),
        ]
        return m


def range_settings(spec: RangeExtractSpec) -> dict[str, int]:
    """Return the settings under which `RangeCore` gives the ranges of a spec.

    Raises
    ------
    SpecError
        For a stream of one token, or of 2**16 and more.
    """
    # the halves of a word's ranges leave in two cycles
    require(spec.tokens > 1, f"tokens must be at least 2, not {spec.tokens}")
    return settled(RANGE_SETTINGS, chunk_tokens=spec.chunk_tokens, tokens=spec.tokens)
