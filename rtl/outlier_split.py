"""Gateware twin of hwq.numerics.outlier_split."""

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.outlier_split import SIDE, OutlierSplitSpec
from hwq.numerics.requantize import MULT_BITS
from hwq.rtl.pipeline import Pipeline, StreamUnit, clamped, half_up_shift, saturated
from hwq.rtl.stimulus import values
from hwq.rtl.uniform import FIXED16

_MULTIPLIER = data.StructLayout({"mult": unsigned(MULT_BITS), "shift": unsigned(6)})
_SIDE = Shape(SIDE.bits, SIDE.signed)


class OutlierSplit(StreamUnit):
    """A token's dense codes, and apart from them its few large elements as side values.

    q = (x*mult[n] + 2**(shift[n]-1)) >> shift[n] for token n. Where |x| > threshold, the code is
    zero_point and the side value clamp(q); elsewhere the code is clamp(q + zero_point) and the
    side value 0.

    Tokens follow each other, each with all its channels, and image follows image; the multipliers
    are in a table that the unit walks through.

    Latency 4 cycles; one element per cycle.

    Ports: `i` of shape x, the element; `o` a structure of `code`, unsigned(bits), and `side`,
    signed(16). What lists the side values takes those that are not 0: a side value of 0 adds
    nothing.

    One multiplier of x by 16 bits, a barrel shifter, two adders, six comparators with constants;
    a memory of T words of 22 bits, and counters of channels and tokens.

    Parameters
    ----------
    spec : OutlierSplitSpec
        Multipliers of the T tokens, threshold and code.
    channels : int
        Elements of a token.
    x : Shape
        Shape of an element.
    """

    def __init__(self, spec: OutlierSplitSpec, channels: int, x: Shape = FIXED16) -> None:
        require(channels >= 1, f"channels must be at least 1, not {channels}")
        self.spec, self.channels = spec, channels
        super().__init__(x, data.StructLayout({"code": unsigned(spec.bits), "side": _SIDE}))

    @property
    def latency_cycles(self) -> int:
        """One register to read the table, and three as `requantize`."""
        return 4

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] elements -> int64[n, 2]: code, side value; the last token may be cut short."""
        tokens = self.spec.mult.size
        padded = np.pad(inputs, (0, -inputs.size % (tokens * self.channels)))
        x = padded.reshape(-1, tokens, self.channels)
        parts = self.spec.compute(x)[0], self.spec.outliers(x)
        return np.stack([part.astype(np.int64).ravel() for part in parts], axis=-1)[: inputs.size]

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64] | None:
        """int64[results]: all magnitudes, a tenth at the threshold; None for one token."""
        if self.spec.mult.size == 1:
            return None
        at = self.spec.threshold + rng.integers(-1, 1, results, endpoint=True)
        (ends,) = self.legal_inputs
        at = np.clip(np.where(rng.random(results) < 0.5, at, -at), *ends)
        return np.where(rng.random(results) < 0.1, at, values(rng, *ends, results))

    def is_outlier(self, x: Value) -> Value:
        """Return whether |x| > threshold, by the comparisons that x can fail."""
        threshold, (least, most) = self.spec.threshold, self.legal_inputs[0]
        above = x > threshold if threshold < most else Value.cast(0)
        return above | (x < -threshold) if least < -threshold else above

    def multiplier(self, m: Module, advance: Value, enable: Value) -> data.View:
        """Return the multiplier of the element, a cycle after it; `advance` on its transfer."""
        spec = self.spec
        rows = [
            {"mult": mult, "shift": shift}
            for mult, shift in zip(spec.mult.tolist(), spec.shift.tolist(), strict=True)
        ]
        # a depth of one would have no address
        m.submodules.table = table = Memory(shape=_MULTIPLIER, depth=max(len(rows), 2), init=rows)
        read = table.read_port()
        token, channel = Signal(range(max(len(rows), 2))), Signal(range(max(self.channels, 2)))
        m.d.comb += [read.addr.eq(token), read.en.eq(enable)]
        if len(rows) > 1:
            last = channel == self.channels - 1
            with m.If(advance):
                m.d.sync += channel.eq(Mux(last, 0, channel + 1))
                with m.If(last):
                    m.d.sync += token.eq(Mux(token == len(rows) - 1, 0, token + 1))
        return read.data

    def elaborate(self, platform: object) -> Module:
        """Return the table and the four stages."""
        m = Module()
        spec = self.spec
        p = Pipeline(m, self.i.valid, self.o.ready, depth=4)
        m.d.comb += [self.i.ready.eq(p.ready), self.o.valid.eq(p.valid[-1])]

        # stage 1: read the token's multiplier
        multiplier = self.multiplier(m, self.i.valid & p.load[0], p.load[0])
        x = Signal.like(self.i.payload)
        with m.If(p.load[0]):
            m.d.sync += x.eq(self.i.payload)

        # stage 2: multiply and compare; mult < 2**16, and one bit for the sign of an unsigned x
        product = Signal(signed(len(x) + MULT_BITS + 1))
        shift, outlier = Signal.like(multiplier.shift), Signal()
        with m.If(p.load[1]):
            m.d.sync += [
                product.eq(x * multiplier.mult),
                shift.eq(multiplier.shift),
                outlier.eq(self.is_outlier(x)),
            ]

        # stage 3: round, shift by 1 or more, zero point; half a product and a code of 8 bits at
        # most are no longer than a product
        wide, outlier_3 = Signal.like(product), Signal()
        with m.If(p.load[2]):
            point = Mux(outlier, 0, spec.zero_point)
            m.d.sync += [wide.eq(half_up_shift(product, shift) + point), outlier_3.eq(outlier)]

        # stage 4: saturate, as a code or as a side value
        with m.If(p.load[3]):
            m.d.sync += [
                self.o.p.code.eq(Mux(outlier_3, spec.zero_point, clamped(wide, 0, spec.top))),
                self.o.p.side.eq(Mux(outlier_3, saturated(wide, _SIDE), 0)),
            ]
        return m
