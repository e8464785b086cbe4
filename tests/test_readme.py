"""The README stays true: its Python runs, its options exist, its files are there."""

import re
from pathlib import Path

import pytest

from hwq.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_python_session_runs(capsys):
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.S):
        exec(compile(block, "README.md", "exec"), {})
    cycles, energy_uj = capsys.readouterr().out.split()
    assert int(cycles) > 0 and float(energy_uj) > 0


def test_the_options_exist(capsys):
    for verb in ("simulate", "calibrate", "evaluate", "emit", "cosim", "generate", "synth"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
    known = set(re.findall(r"--[a-z]+", capsys.readouterr().out))
    named = set(re.findall(r"(?<![\w-])--[a-z]+", README))
    assert named and named <= known


def test_the_two_commands_are_there():
    assert "pip install . && python -m hwq.simulate --model deit_s --method scalepr" in README
    assert "pip install -e '.[dev]' && pytest" in README


def test_the_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets and all((ROOT / target).exists() for target in targets)


def test_the_map_is_complete():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    shown = set(re.findall(r"^(\w+)/ ", README, flags=re.M))
    made = {"build", "dist", "sim_build", "hwq.egg-info", "__pycache__"}
    assert folders - made == shown
