"""Gateware twin of hwq.numerics.range_extract."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from hwq.errors import require
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit


class RangeExtract(StreamUnit):
    """Extrema per chunk and channel of a token stream, as a sum of ranges over the chunks.

    range[c] = sum over chunks of (max - min) of channel c over the chunk's tokens.

    Latency 3 cycles, from the last value of a channel to its range; a result every
    chunks * chunk_tokens * channels cycles, one value per cycle.

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
        # a channel's state is read two transfers after it was written
        require(spec.channels >= 2, f"channels must be at least 2 in RTL, not {spec.channels}")
        self.spec = spec
        self.inputs_per_result = spec.tokens * spec.channels
        self.outputs_per_result = spec.channels
        super().__init__(signed(16), unsigned((spec.chunks * 0xFFFF).bit_length()))

    @property
    def latency_cycles(self) -> int:
        """Three registers."""
        return 3

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
        """Return the counters, the three stages and the two memories."""
        m = Module()
        spec = self.spec
        channels = range(spec.channels)
        extrema_shape = data.StructLayout({"low": signed(16), "high": signed(16)})
        m.submodules.extrema = extrema = Memory(shape=extrema_shape, depth=spec.channels, init=[])
        m.submodules.sums = sums = Memory(
            shape=self.o.payload.shape(), depth=spec.channels, init=[]
        )
        extrema_read, extrema_write = extrema.read_port(), extrema.write_port()
        sums_read, sums_write = sums.read_port(), sums.write_port()
        ready = Signal()
        front = Pipeline(m, self.i.valid, ready, depth=2)
        m.d.comb += self.i.ready.eq(front.ready)

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

        # stage 1: read the extrema of the channel so far
        x, channel_1 = Signal(signed(16)), Signal(channels)
        opens_1, closes_1, first_1, last_1 = (Signal() for _ in range(4))
        m.d.comb += [extrema_read.addr.eq(channel), extrema_read.en.eq(front.load[0])]
        with m.If(front.load[0]):
            m.d.sync += [x.eq(self.i.payload), channel_1.eq(channel)]
            m.d.sync += [opens_1.eq(token == 0), closes_1.eq(last_token)]
            m.d.sync += [first_1.eq(chunk == 0), last_1.eq(last_chunk)]

        # stage 2: extend them, write them back; read the channel's sum
        low, high = Signal(signed(16)), Signal(signed(16))
        m.d.comb += [
            low.eq(Mux(opens_1 | (x < extrema_read.data.low), x, extrema_read.data.low)),
            high.eq(Mux(opens_1 | (x > extrema_read.data.high), x, extrema_read.data.high)),
            extrema_write.addr.eq(channel_1),
            extrema_write.data.low.eq(low),
            extrema_write.data.high.eq(high),
            extrema_write.en.eq(front.valid[0] & front.load[1]),
            sums_read.addr.eq(channel_1),
            sums_read.en.eq(front.load[1]),
        ]
        width, channel_2 = Signal(16), Signal(channels)
        closes_2, first_2, last_2 = (Signal() for _ in range(3))
        with m.If(front.load[1]):
            m.d.sync += [width.eq(high - low), channel_2.eq(channel_1)]
            m.d.sync += [closes_2.eq(closes_1), first_2.eq(first_1), last_2.eq(last_1)]

        # stage 3: add the chunk's range; only the last chunk's sum leaves
        leaves = closes_2 & last_2
        back = Pipeline(m, front.valid[1] & leaves, self.o.ready, depth=1)
        total = Signal.like(self.o.payload)
        m.d.comb += [
            ready.eq(back.ready | ~leaves),
            self.o.valid.eq(back.valid[0]),
            total.eq(Mux(first_2, 0, sums_read.data) + width),
            sums_write.addr.eq(channel_2),
            sums_write.data.eq(total),
            sums_write.en.eq(front.valid[1] & closes_2 & ready),
        ]
        with m.If(back.load[0]):
            m.d.sync += self.o.payload.eq(total)
        return m
