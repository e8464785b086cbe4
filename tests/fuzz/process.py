"""What one of several processes does."""

from pathlib import Path

from tests.fuzz.families import make_family
from tests.fuzz.harness import Family, Tally, run_cases

_made: dict[str, Family] = {}


def start() -> None:
    """Begin a process: others use the other cores."""
    import torch

    torch.set_num_threads(1)


def run(chunk: tuple[str, range, str]) -> Tally:
    """Run cases of a family, given its name, their seeds and a folder."""
    name, seeds, folder = chunk
    if name not in _made:
        _made[name] = make_family(name, Path(folder))
    return run_cases(_made[name], seeds)
