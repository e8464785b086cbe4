"""`python -m hwq` and `python -m hwq.simulate`, from outside the repository."""

import subprocess
import sys


def test_simulate_is_a_module(tmp_path):
    command = [sys.executable, "-m", "hwq.simulate", "--model", "m", "--method", "x", "--bits", "8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hwq: error: ") and done.stderr.count("\n") == 1


def test_version():
    command = [sys.executable, "-m", "hwq", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hwq ")
