"""The simulator, or the reason for skipping; and the cost model that arrays are held to."""

from collections.abc import Callable
from typing import Any

import pytest

from hwq.arch.systolic import matmul_cycles


@pytest.fixture(scope="session")
def simulator(request: pytest.FixtureRequest) -> str:
    """Name the simulator, or skip with what is missing."""
    pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")
    from hwq.sim.tools import SimulatorMissing, find_simulator

    try:
        return find_simulator(request.config.getoption("--simulator"))
    except SimulatorMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of the random stalls."""
    value: int = request.config.getoption("--stall-seed")
    return value


@pytest.fixture(scope="session")
def cycle_model() -> Callable[[int, int, int, Any], int]:
    """Return the cycles that the cost model gives a program of an array."""
    return lambda m, k, n, spec: matmul_cycles(
        m, n, k, spec.rows, spec.columns, spec.dataflow, "rtl"
    )
