"""Gateware twin of hwq.numerics.range_extract."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.wide import carried, register


class RangeExtract(StreamUnit):
    """Extrema per chunk and channel of a token stream, as a sum of ranges over the chunks.

    range[c] = sum over chunks of (max - min) of channel c over the chunk's tokens.

    Latency 5 cycles, from the last value of a channel to its range; a result every
    chunks * chunk_tokens * channels cycles, one value per cycle. What a memory gives goes through a
    register before it is used, as it comes late in a cycle.

    Ports: `i` signed(16), the values token by token, channel by channel; `o`
    unsigned(16 + ceil(log2 chunks)), the ranges, channel by channel, during the last token.

    Two memories of one entry per channel (extrema and sum), three comparators or adders; the
    counters start over after each result, so streams follow each other without a gap.

    Parameters
    ----------
    spec : RangeExtractSpec
        At least 2 channels.
    """

    def __init__(self, spec: RangeExtractSpec) -> None:
        # a channel's state is read while that of two transfers ago is written
        require(spec.channels >= 2, f"channels must be at least 2 in RTL, not {spec.channels}")
        self.spec = spec
        self.inputs_per_result = spec.tokens * spec.channels
        self.outputs_per_result = spec.channels
        super().__init__(signed(16), unsigned((spec.chunks * 0xFFFF).bit_length()))

    @property
    def latency_cycles(self) -> int:
        """Read, register, extend, subtract, add."""
        return 5

    @property
    def interval_cycles(self) -> int:
        """One value per cycle."""
        return self.inputs_per_result

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n*T*C] -> int64[n*C]."""
        streams = inputs.astype(np.int16).reshape(-1, self.spec.tokens, self.spec.channels)
        return self.spec.compute(streams).astype(np.int64).reshape(-1)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """Token streams of every spread, of extremes, and of tokens at either end in turn."""
        shape = (results, self.spec.tokens, self.spec.channels)
        spread = rng.integers(1, 32769, (results, 1, 1))
        streams = np.clip(rng.integers(-spread, spread, shape, endpoint=True), -32768, 32767)
        # two of a kind follow each other: both taps of a predictor
        kind = np.arange(results) % 16 // 2
        streams[kind == 7] = rng.choice([-32768, -1, 0, 32767], shape)[kind == 7]
        # the widest range of every chunk of two tokens or more, so the largest sum of all channels
        ends = np.where(np.arange(self.spec.tokens) % 2, 32767, -32768)
        streams[kind == 0] = ends[:, np.newaxis]
        return streams.reshape(-1)

    def elaborate(self, platform: object) -> Module:
        """Return the counters, the five stages and the two memories."""
        m = Module()
        spec = self.spec
        channels = range(spec.channels)
        extrema_shape = data.StructLayout({"low": signed(16), "high": signed(16)})
        m.submodules.extrema = extrema = Memory(shape=extrema_shape, depth=spec.channels, init=[])
        m.submodules.sums = sums = Memory(
            shape=self.o.payload.shape(), depth=spec.channels, init=[]
        )
        extrema_write, sums_write = extrema.write_port(), sums.write_port()
        extrema_read = extrema.read_port(transparent_for=(extrema_write,))
        sums_read = sums.read_port(transparent_for=(sums_write,))
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=4)
        m.d.comb += self.i.ready.eq(front.ready)
        load = front.load

        # position of the value at `i`: channel fastest, then token in chunk, then chunk
        channel = Signal(channels)
        token = Signal(range(max(spec.chunk_tokens, 2)))
        chunk = Signal(range(max(spec.chunks, 2)))
        last_token = token == spec.chunk_tokens - 1
        last_chunk = chunk == spec.chunks - 1
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += channel.eq(channel + 1)
            with m.If(channel == spec.channels - 1):
                m.d.sync += [channel.eq(0), token.eq(Mux(last_token, 0, token + 1))]
                with m.If(last_token):
                    m.d.sync += chunk.eq(Mux(last_chunk, 0, chunk + 1))

        # stages 1 and 2: read the extrema of the channel so far; of two channels, those of stage 3
        m.d.comb += [extrema_read.addr.eq(channel), extrema_read.en.eq(load[0])]
        channel_1 = carried(m, load[:1], channel, "channel")
        channel_3 = carried(m, load[1:3], channel_1, "channel_read")
        newest = Signal(extrema_shape)
        so_far = extrema_read.data
        if spec.channels == 2:
            so_far = Mux(front.valid[2] & (channel_1 == channel_3), newest, so_far)
        before = data.View(extrema_shape, register(m, load[1], so_far, "before"))
        x = carried(m, load[:2], self.i.payload, "x")
        opens = carried(m, load[:2], token == 0, "opens")

        # stage 3: extend them
        low = Mux(opens | (x < before.low), x, before.low)
        high = Mux(opens | (x > before.high), x, before.high)
        m.d.comb += [
            newest.low.eq(register(m, load[2], low, "low")),
            newest.high.eq(register(m, load[2], high, "high")),
            sums_read.addr.eq(carried(m, load[1:2], channel_1, "channel_of_sum")),
            sums_read.en.eq(load[2]),
        ]

        # stage 4: write them back; what the channel's values of the chunk span, and its sum so far
        m.d.comb += [
            extrema_write.addr.eq(channel_3),
            extrema_write.data.eq(newest),
            extrema_write.en.eq(front.valid[2] & load[3]),
        ]
        width = register(m, load[3], newest.high - newest.low, "width", unsigned(16))
        before_4 = register(m, load[3], sums_read.data, "sum_before")
        channel_4 = carried(m, load[3:], channel_3, "channel_of_width")
        closes = carried(m, load, last_token, "closes")
        first = carried(m, load, chunk == 0, "first")
        leaves = closes & carried(m, load, last_chunk, "last")

        # stage 5: add the chunk's range; only the last chunk's sum leaves
        back = Pipeline(m, front.valid[3] & leaves, self.o.ready, depth=1)
        total = Signal.like(self.o.payload)
        m.d.comb += [
            ready.eq(back.ready | ~leaves),
            self.o.valid.eq(back.valid[0]),
            total.eq(Mux(first, 0, before_4) + width),
            sums_write.addr.eq(channel_4),
            sums_write.data.eq(total),
            sums_write.en.eq(front.valid[3] & closes & ready),
        ]
        with m.If(back.load[0]):
            m.d.sync += self.o.payload.eq(total)
        return m
