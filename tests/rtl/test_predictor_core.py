"""Scales of an image by one multiplier, against the reference; one netlist for all predictors."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from amaranth.sim import Simulator

from hwq.compiler.emit_scales import predictor_words, with_predictor_words
from hwq.errors import SpecError
from hwq.numerics.range_extract import RangeExtractSpec
from hwq.numerics.scale_predictor import ScalePredictorSpec, scale_predictor_reference
from hwq.numerics.unit import Workload
from hwq.numerics.units import UNITS
from hwq.rtl.buffer import READ_CYCLES
from hwq.rtl.predictor_core import PredictorCore, predictor_settings

SHAPES = [(1, 1, 1, 8), (1, 3, 2, 8), (2, 1, 3, 16), (4, 5, 2, 16), (8, 9, 3, 8), (8, 2, 1, 24)]
"""Features, scales, degree, columns."""


def predictor(features: int, scales: int, degree: int, columns: int, kind: str):
    """A predictor of all magnitudes, and ranges."""
    rng = np.random.default_rng([features, scales, degree, columns])
    half = 1 << 15
    spread = half if kind == "wide" else 1 << 12
    ranges = rng.integers(0, 1 << (31 if kind == "wide" else 17), columns)
    if kind == "ends":
        ranges = rng.choice([0, (1 << 31) - 1], columns)
    spec = ScalePredictorSpec.from_arrays(
        RangeExtractSpec(columns, 2, 2),
        rng.integers(-half, half, (features, columns)),
        rng.integers(-(1 << 31), 1 << 31, features) >> (0 if kind == "wide" else 18),
        rng.integers(-spread, spread, (scales, features, degree)),
        rng.integers(-spread, spread, scales),
        shift={"wide": 33, "ends": 47, "usual": 20}[kind],
        limit={"wide": 32767, "ends": 0, "usual": 4096}[kind],
    )
    return spec, ranges.astype(np.int32)


CASES = [predictor(*shape, kind) for shape in SHAPES for kind in ("usual", "wide", "ends")]


def run(lanes: int, cases) -> tuple[list[np.ndarray], list[int]]:
    """Run one netlist; return the scales of each case, and cycles until the last one is sent."""
    core = PredictorCore(lanes)
    results, cycles = [], []

    async def testbench(ctx) -> None:
        for spec, ranges in cases:
            for name, value in predictor_settings(spec, lanes).items():
                ctx.set(core.settings[name], value)
            words = predictor_words(spec)
            padded = np.pad(words, (0, -words.size % lanes)).reshape(-1, lanes)
            pieces = np.stack([ranges & 0xFFFF, ranges >> 16], axis=-1).reshape(-1, lanes)
            memories = [(core.ranges, pieces), (core.parameters, padded)]
            turns, late = [0, 0], [deque([None] * READ_CYCLES) for _ in memories]
            sent = np.zeros((spec.scales, 4), np.int64)
            ctx.set(core.start, 1)
            await ctx.tick()
            ctx.set(core.start, 0)
            count, cycle, last = 0, 0, False
            while not last:
                cycle += 1
                assert cycle < 20_000
                for k, (port, memory) in enumerate(memories):
                    asked = bool(ctx.get(port.ask))
                    late[k].append(memory[turns[k] % len(memory)] if asked else None)
                    turns[k] += asked
                    word = late[k].popleft()
                    ctx.set(port.valid, word is not None)
                    for lane, value in enumerate(word if word is not None else ()):
                        ctx.set(port.elements[lane], int(value))
                if ctx.get(core.o.valid):
                    slot = ctx.get(core.o.keep).bit_length() // 4 - 1
                    assert ctx.get(core.o.keep) == 0b1111 << 4 * slot
                    assert slot == count % (lanes // 4)
                    sent[count] = [ctx.get(core.o.pieces[4 * slot + k]) for k in range(4)]
                    count, last = count + 1, bool(ctx.get(core.o.last))
                await ctx.tick()
            assert count == spec.scales
            results.append((sent ^ [0, 0x8000, 0, 0x8000]) - [0, 0x8000, 0, 0x8000])
            cycles.append(cycle)

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return results, cycles


@pytest.mark.parametrize("lanes", [4, 8])
def test_scales_are_those_of_the_reference(lanes: int) -> None:
    results, cycles = run(lanes, CASES)
    for (spec, ranges), scales, count in zip(CASES, results, cycles, strict=True):
        wanted = np.stack(scale_predictor_reference(ranges, spec)[1:], axis=-1)
        assert np.array_equal(scales, wanted.astype(np.int64))
        unit = UNITS["scale_predictor"]
        timing, items = unit.items(unit.timing, Workload(1, predictor_words(spec).size, lanes))
        # words are there READ_CYCLES after they are asked for
        assert count == timing.busy_cycles(items) + READ_CYCLES


def test_words_are_the_predictor() -> None:
    for spec, _ in CASES:
        other = replace(spec, offsets=(0,) * spec.features, biases=(0,) * spec.scales)
        assert with_predictor_words(other, predictor_words(spec)) == spec


def test_refusals() -> None:
    spec, _ = CASES[0]
    with pytest.raises(SpecError, match="8 ranges are no whole words of 32 pieces"):
        predictor_settings(spec, 32)
    with pytest.raises(SpecError, match="lanes must be a multiple of 4, not 6"):
        PredictorCore(6)
