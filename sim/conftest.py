"""Options of the co-simulation, and the simulator, or the reason for skipping."""

import sys
from pathlib import Path

import pytest

# the simulator's own Python imports tb_stream from here as well; sim/ is never installed
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --simulator and --stall-seed."""
    group = parser.getgroup("hwq co-simulation")
    group.addoption(
        "--simulator",
        choices=("auto", "verilator", "icarus"),
        default="auto",
        help="what runs the emitted Verilog (default: Verilator if it can, else Icarus)",
    )
    group.addoption("--stall-seed", type=int, default=1, help="seed of the random stalls")


@pytest.fixture(scope="session")
def simulator(request: pytest.FixtureRequest) -> str:
    """Name the simulator, or skip with what is missing."""
    pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")
    from runner import SimulatorMissing, find_simulator

    try:
        return find_simulator(request.config.getoption("--simulator"))
    except SimulatorMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of the random stalls."""
    value: int = request.config.getoption("--stall-seed")
    return value
