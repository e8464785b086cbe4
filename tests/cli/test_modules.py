"""`python -m hwq` and `python -m hwq.<verb>`, from outside the repository."""

import subprocess
import sys

import pytest

from hwq.cli.main import main
from hwq.methods.catalog import METHODS


@pytest.mark.parametrize("verb", ["simulate", "calibrate", "evaluate"])
def test_a_verb_is_a_module(tmp_path, verb):
    command = [sys.executable, "-m", f"hwq.{verb}", "--model", "m", "--seed", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hwq: error: ") and done.stderr.count("\n") == 1


def test_version():
    command = [sys.executable, "-m", "hwq", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hwq ")


@pytest.mark.parametrize("verb", ["simulate", "calibrate", "evaluate"])
def test_help_lists_every_method(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert [name for name in METHODS if name not in text] == []
