"""Skips what needs a simulator that is not there."""

import pytest

from hwq.sim import tools


def needs_simulator(wanted: str = "auto") -> None:
    """Skip with what is missing."""
    try:
        tools.find_simulator(wanted)
    except tools.SimulatorMissing as missing:
        pytest.skip(str(missing))
