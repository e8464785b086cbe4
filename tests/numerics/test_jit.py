"""The cache of compiled kernels: never stale, and never needed."""

import os
import subprocess
import sys

import pytest

MODULE = """
from hwq.numerics._jit import kernel

@kernel
def outer(x):
    return middle(x) + OFFSET

@kernel
def middle(x):
    return FACTOR * x

FACTOR, OFFSET = {factor}, {offset}
print(outer(5))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the module in a process of its own."""

    def call(factor, offset, home=tmp_path / "home"):
        path = tmp_path / "module.py"
        path.write_text(MODULE.format(factor=factor, offset=offset))
        os.utime(path, (1_000_000_000, 1_000_000_000))  # numba's own caches look at the time
        result = subprocess.run(
            [sys.executable, str(path)],
            env={**os.environ, "XDG_CACHE_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(result.stdout)

    return call


def compiled(home):
    return sorted(path.name for path in (home / "hwq" / "kernels").glob("*.nbc"))


def test_a_change_in_what_a_kernel_calls_or_reads_is_seen(run, tmp_path):
    """Also of what is defined behind it, in a file of the same size and time."""
    assert run(2, 1) == 11
    first = compiled(tmp_path / "home")
    assert len(first) == 2
    assert run(2, 1) == 11
    assert compiled(tmp_path / "home") == first
    assert run(3, 1) == 16
    assert run(3, 4) == 19
    assert run(2, 1) == 11
    assert set(first) < set(compiled(tmp_path / "home"))


def test_what_a_crash_left_behind_does_no_harm(run, tmp_path):
    assert run(2, 1) == 11
    folder = tmp_path / "home" / "hwq" / "kernels"
    for path in folder.glob("*.nbc"):
        path.unlink()
    assert run(2, 1) == 11
    for path in folder.glob("*.nbi"):
        path.write_bytes(b"")
    assert run(2, 1) == 11


def test_a_home_that_cannot_be_written_is_not_needed(run, tmp_path):
    """Root may write anywhere, so a file takes the folder's place."""
    (tmp_path / "file").write_text("")
    assert run(2, 1, tmp_path / "file") == 11
    assert run(3, 1, tmp_path / "file") == 16
