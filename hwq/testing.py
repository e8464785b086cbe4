"""What tests and benches share: operands, stall patterns, and gateware as a function."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import require

if TYPE_CHECKING:
    from hwq.rtl.pipeline import StreamUnit


def exhaustive_or_corners(
    bits: int, signed: bool, limit: int = 1 << 16, seed: int = 0
) -> NDArray[np.int64]:
    """int64[n]: every value of `bits` bits if they are at most `limit`; else corners and random.

    Corners are the ends of the range and the two neighbours of zero and of every power of two.
    """
    require(1 <= bits <= 62, f"bits must be in 1..62, not {bits}")
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits)
    if 1 << bits <= limit:
        return np.arange(low, high)
    near = {sign * (1 << k) + d for k in range(bits) for sign in (1, -1) for d in (-1, 0, 1)}
    corners = sorted(v for v in near | {0, low, low + 1, high - 2, high - 1} if low <= v < high)
    require(len(corners) <= limit, f"limit must be at least {len(corners)}, not {limit}")
    random = np.random.default_rng(seed).integers(low, high, limit - len(corners))
    return np.concatenate([np.array(corners, np.int64), random])


def stimulus(
    unit: "StreamUnit", vectors: int = 100_000, seed: int = 0, exhaustive_bits: int = 16
) -> NDArray[np.int64]:
    """Return the inputs that `unit` is verified with: int64[n], or int64[n, fields].

    The unit's own, of at least `vectors` transfers, if it has some. Otherwise every payload if it
    has at most `exhaustive_bits` bits; if not, `vectors` payloads whose every field is one of its
    corners in half of them, each corner at least once, and random in magnitude and value in the
    rest.
    """
    from hwq.rtl.payload import fields

    rng = np.random.default_rng(seed)
    stimulus = unit.stimulus(rng, -(-vectors // unit.inputs_per_result))
    if stimulus is not None:
        return stimulus
    shapes = fields(unit.i.payload.shape())
    if sum(shape.width for shape in shapes) <= exhaustive_bits:
        grids = [exhaustive_or_corners(shape.width, shape.signed) for shape in shapes]
        every = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(shapes))
        return every[:, 0] if len(shapes) == 1 else every
    columns = [_field_stimulus(rng, shape.width, shape.signed, vectors) for shape in shapes]
    return columns[0] if len(shapes) == 1 else np.stack(columns, axis=-1)


def _field_stimulus(
    rng: np.random.Generator, bits: int, signed: bool, vectors: int
) -> NDArray[np.int64]:
    """int64[vectors]: corners and random values of every magnitude, in random order."""
    corners = np.unique(exhaustive_or_corners(bits, signed, limit=6 * bits + 16))
    low = -(1 << (bits - 1)) if signed else 0
    magnitude = rng.integers(0, bits - signed, vectors, endpoint=True)
    values = rng.integers(0, (1 << magnitude) - 1, endpoint=True)
    values = np.where(rng.random(vectors) < 0.5 if signed else False, ~values, values)
    take = rng.random(vectors) < 0.5
    values = np.where(take, rng.choice(corners, vectors), np.maximum(values, low))
    values[rng.permutation(vectors)[: corners.size]] = corners[:vectors]
    return values


@dataclass(frozen=True)
class Stall:
    """One side of a stream that refuses now and then: iterate for True (go) or False (stall)."""

    name: str
    pattern: Callable[[], Iterator[bool]]

    def __iter__(self) -> Iterator[bool]:
        return self.pattern()

    def __str__(self) -> str:
        return self.name


def _forever() -> Iterator[bool]:
    while True:
        yield True


def never() -> Stall:
    """Return a side that never stalls."""
    return Stall("never", _forever)


def every(n: int) -> Stall:
    """Return a side that stalls every n-th cycle."""
    require(n >= 2, f"n must be at least 2, not {n}")

    def pattern() -> Iterator[bool]:
        while True:
            yield from [True] * (n - 1)
            yield False

    return Stall(f"every({n})", pattern)


def random_stall(seed: int, p: float) -> Stall:
    """Return a side that stalls with probability `p` in each cycle, from a seed."""
    require(0 <= p < 1, f"p must be in 0..1, 1 excluded, not {p}")

    def pattern() -> Iterator[bool]:
        rng = Random(seed)
        while True:
            yield rng.random() >= p

    return Stall(f"random_stall({seed}, {p})", pattern)


@dataclass(frozen=True)
class StreamRun:
    """What happened on both streams.

    outputs : int64[m] or int64[m, fields]; payloads in order
    input_cycles, output_cycles : int64[n], int64[m]; when each one was transferred
    """

    outputs: NDArray[np.int64]
    input_cycles: NDArray[np.int64]
    output_cycles: NDArray[np.int64]

    def latency_cycles(self, unit: "StreamUnit") -> int:
        """Cycles from the last input of the first result to its last output."""
        last_in = self.input_cycles[unit.inputs_per_result - 1]
        return int(self.output_cycles[unit.outputs_per_result - 1] - last_in)

    def interval_cycles(self, unit: "StreamUnit") -> int:
        """Cycles between the last outputs of successive results; steady over the later half."""
        ends = self.output_cycles[unit.outputs_per_result - 1 :: unit.outputs_per_result]
        require(ends.size >= 4, f"there must be at least 4 results, not {ends.size}")
        intervals = set(np.diff(ends[ends.size // 2 :]).tolist())
        require(len(intervals) == 1, f"the interval must be steady, not {sorted(intervals)}")
        return int(intervals.pop())


def run_stream(
    unit: "StreamUnit",
    inputs: NDArray[np.integer],
    source: Stall | None = None,
    sink: Stall | None = None,
    settings: Mapping[str, int] | None = None,
) -> StreamRun:
    """Drive `inputs` through `unit` in Amaranth's simulator and collect what leaves it.

    Parameters
    ----------
    unit : StreamUnit
        The gateware; elaborated here.
    inputs : int64[n] or int64[n, fields]
        Payloads, a multiple of `unit.inputs_per_result`.
    source, sink : Stall, optional
        When the sender pauses, and when the receiver is not ready. Default: never.
    settings : mapping of str to int, optional
        Fields of the unit's port `settings`, which do not change.

    Raises
    ------
    SpecError
        If the unit makes no progress, or says more than it should.
    """
    from amaranth.hdl import Value
    from amaranth.sim import Simulator

    from hwq.rtl.payload import pack, unpack

    results, rest = divmod(len(inputs), unit.inputs_per_result)
    require(
        rest == 0,
        f"inputs must come in multiples of {unit.inputs_per_result}, not {len(inputs)}",
    )
    values = pack(unit.i.payload.shape(), np.asarray(inputs, np.int64))
    source_payload = Value.cast(unit.i.payload)
    wanted = results * unit.outputs_per_result
    idle_limit = 200 + 20 * (unit.latency_cycles + unit.interval_cycles)
    payload = Value.cast(unit.o.payload)
    outputs: list[int] = []
    input_cycles: list[int] = []
    output_cycles: list[int] = []

    async def bench(ctx: Any) -> None:
        go, accept = iter(source or never()), iter(sink or never())
        offered, held = False, None
        cycle = idle = 0
        for name, value in (settings or {}).items():
            ctx.set(unit.settings[name], value)
        while len(outputs) < wanted and idle < idle_limit:
            if not offered and len(input_cycles) < len(values) and next(go):
                ctx.set(source_payload, values[len(input_cycles)])
                offered = True
            ctx.set(unit.i.valid, offered)
            ready = next(accept)
            ctx.set(unit.o.ready, ready)
            idle += 1
            if offered and ctx.get(unit.i.ready):
                input_cycles.append(cycle)
                offered, idle = False, 0
            out = ctx.get(payload) if ctx.get(unit.o.valid) else None
            require(held is None or out == held, "o must not change before its transfer")
            held = None if ready else out
            if ready and out is not None:
                outputs.append(out)
                output_cycles.append(cycle)
                idle = 0
            await ctx.tick()
            cycle += 1
        ctx.set(unit.i.valid, 0)
        for _ in range(unit.latency_cycles + 2):
            require(not ctx.get(unit.o.valid), "the unit must not repeat or invent outputs")
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    require(len(outputs) == wanted, f"the unit must give {wanted} outputs, not {len(outputs)}")
    values_out = unpack(unit.o.payload.shape(), outputs)
    return StreamRun(values_out, np.array(input_cycles), np.array(output_cycles))
