"""What all units share: the stream interface, and valid/ready stages."""

from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value, ValueLike, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from hwq.errors import require
from hwq.rtl.payload import ends, fields


class StreamUnit(wiring.Component):
    """A unit that turns every `inputs_per_result` payloads of `i` into `outputs_per_result` of `o`.

    Either side may stall at any time; nothing is lost, repeated or reordered.

    Parameters
    ----------
    i, o : ShapeLike
        Payload shapes of the two streams.
    ports : mapping of str to Member, optional
        Further ports. `settings`, if it has them, are the formats and sizes of a layer: they may
        change only while the unit is empty.
    """

    inputs_per_result = 1
    outputs_per_result = 1

    def __init__(
        self, i: ShapeLike, o: ShapeLike, ports: Mapping[str, wiring.Member] | None = None
    ) -> None:
        streams = {"i": In(stream.Signature(i)), "o": Out(stream.Signature(o))}
        super().__init__(streams | dict(ports or {}))

    @property
    def latency_cycles(self) -> int:
        """Cycles from the transfer of a result's last input to its last output, without stalls."""
        raise NotImplementedError

    @property
    def interval_cycles(self) -> int:
        """Cycles between results in the steady state, without stalls."""
        return 1

    @property
    def legal_inputs(self) -> Sequence[tuple[int, int]]:
        """Least and most of every field of `i`, in the order of `hwq.rtl.payload.fields`."""
        return [ends(shape) for shape in fields(self.i.payload.shape())]

    def compute(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n] -> int64[m]: payloads that leave `o`, by the numerics twin.

        Payloads of several fields are int64[n, fields], in the order of `hwq.rtl.payload.fields`.
        """
        raise NotImplementedError

    def stimulus(self, rng: np.random.Generator, results: int) -> NDArray[np.int64] | None:
        """Return the inputs of `results` results that a bench should try: corners, then random.

        None where independent fields, each with its own corners, will do.
        """
        return None


MOST_ALONE = 3
"""Registers of the longest pipeline in which each moves as soon as the next one does."""


class Pipeline:
    """Control of `depth` registers between two handshakes.

    Register k holds data while `valid[k]`, and takes the value before it whenever `load[k]`:

        with m.If(pipeline.load[k]):
            m.d.sync += register_k.eq(...)

    Up to MOST_ALONE registers move one by one, so that they fill while the receiver waits. More
    move together, as soon as the last one is empty or taken: a ready that goes through register
    after register would take longer than what is between them.

    `ready` is what the sender sees. It depends combinationally on the receiver's ready.
    """

    def __init__(self, m: Module, valid: ValueLike, ready: ValueLike, depth: int) -> None:
        self.valid = [Signal(name=f"valid_{k + 1}") for k in range(depth)]
        if depth > MOST_ALONE:
            self.load = [Signal(name="load")] * depth
            m.d.comb += self.load[-1].eq(~self.valid[-1] | ready)
        else:
            self.load = [Signal(name=f"load_{k + 1}") for k in range(depth)]
            after = [*self.load[1:], ready]
            m.d.comb += [self.load[k].eq(~self.valid[k] | after[k]) for k in range(depth)]
        before = [valid, *self.valid]
        for k in range(depth):
            with m.If(self.load[k]):
                m.d.sync += self.valid[k].eq(before[k])
        self.ready = self.load[0]


def delayed(m: Module, value: ValueLike, cycles: int) -> Value:
    """Return `value` after `cycles` registers."""
    before = Value.cast(value)
    for _ in range(cycles):
        after = Signal.like(before, init=0)
        m.d.sync += after.eq(before)
        before = after
    return before


def within(value: Value, lo: ValueLike, hi: ValueLike) -> Value:
    """Return a signed `value`, or the nearest of `lo` and `hi`, which may change; as `clamped`.

    Only as many bits as the ends have are compared with them; all others are the sign, or not.
    """
    low, high = Value.cast(lo), Value.cast(hi)
    width = max(len(end) + (not end.shape().signed) for end in (low, high))
    near, signs = value[:width].as_signed(), value[width - 1 :]
    fits = signs.all() | ~signs.any()
    above = Mux(fits, near > high, ~value[-1])
    below = Mux(fits, near < low, value[-1])
    return Mux(above, high, Mux(below, low, near))


def settled(layout: data.StructLayout, **values: int) -> dict[str, int]:
    """Return all fields of a unit's settings: these values, and 0.

    Raises
    ------
    SpecError
        For a value that does not fit its field.
    """
    for name, value in values.items():
        least, most = ends(Shape.cast(layout[name].shape))
        require(least <= value <= most, f"{name} must be in {least}..{most}, not {value}")
    return {name: values.get(name, 0) for name, _ in layout}


def holding(largest: int) -> Shape:
    """Return the signed shape that holds -largest .. largest."""
    return signed(largest.bit_length() + 1)


def clamped(value: Value, low: int, high: int) -> Value:
    """Return `value`, or the nearest of `low` and `high`; `value` is used thrice, so a signal."""
    shape = value.shape()
    # no comparison that the width decides
    least = -(1 << (shape.width - 1)) if shape.signed else 0
    held = Mux(value < low, low, value) if least < low else value
    return Mux(value > high, high, held) if least + (1 << shape.width) - 1 > high else held


def saturated(value: Value, shape: Shape) -> Value:
    """Return `value`, or the nearest end of `shape`; `value` is used thrice, so a signal."""
    high = (1 << (shape.width - shape.signed)) - 1
    return clamped(value, -high - 1 if shape.signed else 0, high)


def half_up_shift(value: Value, shift: Value | int) -> Value:
    """Return value * 2**-shift to nearest, ties up, as `hwq.numerics.rounding` does.

    One bit more than the quotient is shifted out; adding one to it rounds. A shift of 0 is the
    identity.
    """
    return (((value << 1) >> shift) + 1) >> 1
