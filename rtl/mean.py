# amaranth: UnusedElaboratable=no
"""Gateware twin of hwq.numerics.mean."""

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from numpy.typing import NDArray

from hwq.numerics.mean import MeanSpec
from hwq.numerics.requantize import RequantizeSpec
from hwq.rtl.pipeline import Pipeline, StreamUnit
from hwq.rtl.requantize import Requantize
from hwq.rtl.stimulus import values
from hwq.rtl.uniform import FIXED16


class Mean(StreamUnit):
    """Mean of `count` numbers: their sum times a dyadic multiplier.

    Latency 4 cycles from the last number; one number per cycle, so a mean every `count` cycles.

    Ports: `i` of shape x, the numbers of one mean after the other; `o` the mean, of the width and
    sign of `out`.

    An accumulator and a counter before `Requantize`.

    Parameters
    ----------
    spec : MeanSpec
        Count, multiplier and format of the mean.
    x : Shape
        Shape of a number, at most 32 bits.
    """

    def __init__(self, spec: MeanSpec, x: Shape = FIXED16) -> None:
        self.spec = spec
        self.inputs_per_result = spec.count
        # count numbers: log2(count) bits more, and one for the sign where they have none
        acc_bits = x.width + (not x.signed) + (spec.count - 1).bit_length()
        scale = RequantizeSpec(spec.mult, spec.shift, 0, spec.out.bits, spec.out.signed)
        self.requantize = Requantize(scale, acc_bits=acc_bits)
        super().__init__(x, Shape(spec.out.bits, spec.out.signed))

    @property
    def latency_cycles(self) -> int:
        """The accumulator, and the stages of `Requantize`."""
        return 1 + self.requantize.latency_cycles

    @property
    def interval_cycles(self) -> int:
        """A number per cycle."""
        return self.spec.count

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n * count] -> int64[n] means."""
        return self.spec.compute(inputs.reshape(-1, self.spec.count))[0][:, 0].astype(np.int64)

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64]:
        """int64[results * count]: numbers of all magnitudes, and the largest sums there are."""
        ((least, most),) = self.legal_inputs
        rows = values(rng, least, most, results * self.spec.count).reshape(results, -1)
        rows[:1], rows[1:2] = most, least
        return rows.ravel()

    def elaborate(self, platform: object) -> Module:
        """Return the accumulator and `Requantize`."""
        m = Module()
        m.submodules.requantize = requantize = self.requantize
        ready = Signal()
        p = Pipeline(m, self.i.valid, ready, depth=1)
        total, last = Signal(signed(requantize.acc_bits)), Signal()
        number = Signal(range(max(self.spec.count, 2)))
        ends = number == self.spec.count - 1
        with m.If(p.load[0] & self.i.valid):
            m.d.sync += [
                total.eq(Mux(number == 0, 0, total) + self.i.payload),
                number.eq(Mux(ends, 0, number + 1)),
                last.eq(ends),
            ]
        m.d.comb += [
            self.i.ready.eq(p.ready),
            requantize.i.valid.eq(p.valid[0] & last),
            requantize.i.payload.eq(total),
            ready.eq(requantize.i.ready | ~last),
        ]
        wiring.connect(m, requantize.o, wiring.flipped(self.o))
        return m
