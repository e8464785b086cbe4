"""6,000 seeded cases: none ends in a traceback, hangs, or computes two different things."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from hwq.errors import DataError, SpecError
from hwq.quantizers.base import Quantizer
from hwq.quantizers.uniform import Uniform
from tests.fuzz import harness
from tests.fuzz.families import FAMILIES, make_family, share_of
from tests.fuzz.harness import check_line, run_cases

CASES = 6_000
PARTS = 2  # of every family, so that two processes share the work


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Return a function: name -> the family, made once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = make_family(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", FAMILIES)
def test_every_case_ends_well(family, name, part):
    count = share_of(name, CASES) // PARTS
    tally = run_cases(family(name), range(part * count, (part + 1) * count))
    assert tally.cases == count and not tally.faults, "\n".join(tally.faults[:3])
    # neither everything nor nothing is refused
    assert 0.002 * count < tally.accepted < 0.9 * count


def test_a_check_that_is_broken_is_caught(family, monkeypatch):
    """Scales of any value: a zero or an infinite one passes, and fails later in other words."""
    monkeypatch.setattr(Uniform, "check", Quantizer.check)
    assert run_cases(family("calibrated"), range(250)).faults


@dataclass
class Odd:
    """A family of one case."""

    call: object
    name: str = "odd"

    def run(self, rng):
        return harness.accepts(self.call)


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: _raise(KeyError("x")), "KeyError"),
        (lambda: time.sleep(60), "hangs: more than 1 s"),
        (lambda: _raise(Long("x" * 5000)), "no clear line"),
        (lambda: np.testing.assert_array_equal([1], [2]), "Mismatched elements"),
    ],
)
def test_what_must_not_happen_is_counted(call, words, monkeypatch):
    monkeypatch.setattr(harness, "LIMIT_S", 1)
    tally = run_cases(Odd(call), range(1))
    assert len(tally.faults) == 1 and words in tally.faults[0]


class Long(DataError):
    """An error that escaped the one place where messages are made short."""

    def __str__(self):
        return "\n" + "x" * 5000


def test_memory_beyond_the_limit_is_a_fault(monkeypatch):
    monkeypatch.setattr(harness, "LIMIT_MIB", 1)
    assert "MiB of memory" in run_cases(Odd(lambda: None), range(1)).faults[0]


def test_messages_are_one_printable_line():
    message = str(SpecError("a\n\x1b[31m b " + "x" * 9000))
    assert message.startswith(r"a \x1b[31m b xxx") and len(message) < 1000
    check_line(message)


def test_a_case_depends_on_its_seed_alone(family):
    first, second = (run_cases(family("weights"), range(40, 60)) for _ in range(2))
    assert (first.accepted, first.faults) == (second.accepted, second.faults)
