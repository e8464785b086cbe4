"""Ranges of a word of channels at a time, against the reference."""

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.sim import Simulator

from hwq.errors import SpecError
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.unit import Workload
from hwq.numerics.units import UNITS
from hwq.rtl.range_core import RangeCore, range_settings
from tests.rtl.packed import set_fields

SPECS = [
    RangeExtractSpec(8, 3, 5),
    RangeExtractSpec(4, 1, 2),
    RangeExtractSpec(12, 16, 1),
    RangeExtractSpec(16, 2, 1),
    RangeExtractSpec(4, 1, 300),
]


def streams(lanes: int) -> list[tuple[RangeExtractSpec, np.ndarray]]:
    """Tokens of every spread, and of both ends in turn."""
    rng = np.random.default_rng(lanes)
    cases = []
    for spec in SPECS:
        shape = spec.tokens, spec.channels
        spread = rng.integers(1, 1 << 15, (1, spec.channels))
        cases.append((spec, rng.integers(-spread, spread, shape)))
        ends = np.where(np.arange(spec.tokens) % 2, 32767, -32768)
        cases.append((spec, np.broadcast_to(ends[:, np.newaxis], shape)))
        cases.append((spec, rng.choice([-32768, -1, 0, 32767], shape)))
    return [(spec, x.astype(np.int16)) for spec, x in cases]


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("gaps", [False, True])
def test_ranges_are_those_of_the_reference(lanes: int, gaps: bool) -> None:
    core = RangeCore(lanes)
    cases, rng = streams(lanes), np.random.default_rng(5)
    seen: list[list[int]] = []
    late: list[int] = []

    async def tick(ctx, word=None) -> None:
        ctx.set(core.i.valid, word is not None)
        for lane, value in enumerate(() if word is None else word):
            ctx.set(core.i.elements[lane], int(value))
        if ctx.get(core.o.valid):
            seen[-1] += [ctx.get(core.o.pieces[lane]) for lane in range(lanes)]
        await ctx.tick()

    async def testbench(ctx) -> None:
        for spec, tokens in cases:
            seen.append([])
            set_fields(ctx, core.settings, range_settings(spec))
            for word in tokens.reshape(spec.tokens, -1, lanes).swapaxes(0, 1).reshape(-1, lanes):
                for _ in range(gaps * rng.geometric(0.6)):
                    await tick(ctx)
                await tick(ctx, word)
            cycles = 0
            while len(seen[-1]) < 2 * spec.channels:
                await tick(ctx)
                cycles += 1
            late.append(cycles)

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    for (spec, tokens), pieces in zip(cases, seen, strict=True):
        low, high = np.array(pieces).reshape(-1, 2).T
        assert np.array_equal(low + (high << 16), spec.reference(tokens))
    # of the last word in, of which two words leave
    unit = UNITS["range_extract"]
    timing, _ = unit.items(unit.timing, Workload(2, 4, lanes))
    assert set(late) == {timing.latency_cycles}


def test_one_token_is_refused() -> None:
    with pytest.raises(SpecError, match="tokens must be at least 2, not 1"):
        range_settings(RangeExtractSpec(4, 1, 1))
