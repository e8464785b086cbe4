"""The equality that every unit is held to, in Amaranth's simulator."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.numerics.unit import UnitTiming
from hwq.rtl.pipeline import StreamUnit
from hwq.testing import every, never, random_stall, run_stream, stimulus

STALLS = [
    (never(), never()),
    (never(), every(3)),
    (every(2), never()),
    (random_stall(0, 0.4), random_stall(1, 0.5)),
]

Check = Callable[[StreamUnit, NDArray[np.int64], UnitTiming], None]


@pytest.fixture(params=STALLS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def check(request: pytest.FixtureRequest) -> Check:
    """Compare values always, and cycles if nothing stalls."""
    source, sink = request.param

    def compare(unit: StreamUnit, inputs: NDArray[np.int64], timing: UnitTiming) -> None:
        run = run_stream(unit, inputs, source, sink)
        assert_array_equal(run.outputs, unit.compute(inputs))
        if (source, sink) == STALLS[0]:
            measured = UnitTiming(run.latency_cycles(unit), run.interval_cycles(unit))
            assert measured == UnitTiming(unit.latency_cycles, unit.interval_cycles) == timing

    return compare


@pytest.fixture
def payloads() -> Callable[[StreamUnit, int], NDArray[np.int64]]:
    """Return a maker of seeded inputs for at least `results` results of a unit."""
    return lambda unit, results: stimulus(unit, results * unit.inputs_per_result, exhaustive_bits=8)
