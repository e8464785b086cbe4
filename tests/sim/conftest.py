"""The simulator, or the reason for skipping."""

import pytest


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
