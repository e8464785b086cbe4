"""Seeded cases, one after another, and what is counted of them."""

import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from hwq.errors import HwqError

LIMIT_S = 10
"""A case that takes longer hangs."""
LIMIT_MIB = 2048
"""Largest memory of a process."""
MESSAGE_LENGTH = 1000


class Family(Protocol):
    """One kind of input; what takes long only once, such as an import, is done as it is made.

    Attributes
    ----------
    name : str
        Its module's name.
    """

    name: str

    def run(self, rng: np.random.Generator) -> bool:
        """Try one case; return whether it was accepted, raise what must not happen."""


class Fault(AssertionError):
    """What must not happen, in words."""


@dataclass
class Tally:
    """What became of the cases of one family.

    Parameters
    ----------
    family : str
    cases, accepted : int
    slowest_s : float
        Wall-clock time of the slowest case.
    memory_mib : float
        Largest memory of the process so far.
    faults : list of str
        The seed of a case, and what happened.
    """

    family: str
    cases: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    memory_mib: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count the cases of another run of the family as well."""
        self.cases += other.cases
        self.accepted += other.accepted
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.memory_mib = max(self.memory_mib, other.memory_mib)
        self.faults += other.faults


def run_cases(family: Family, seeds: range) -> Tally:
    """Run one case a seed; a case draws from a generator of its own."""
    tally = Tally(family.name)
    for seed in seeds:
        begun = time.monotonic()
        try:
            with _alarm():
                tally.accepted += family.run(np.random.default_rng(seed))
        except Exception:
            tally.faults.append(f"{family.name} {seed}: {traceback.format_exc()[-1500:]}")
        tally.cases += 1
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - begun)
    tally.memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if tally.memory_mib > LIMIT_MIB:
        tally.faults.append(f"{family.name}: {tally.memory_mib:.0f} MiB of memory")
    return tally


def accepts(call: Callable[[], object]) -> bool:
    """Return whether `call` ends well; an error of ours must be one short line."""
    try:
        call()
    except HwqError as error:
        check_line(str(error))
        return False
    return True


def check_line(message: str) -> None:
    """Raise `Fault` unless a message is one line that a terminal can show."""
    if not message or len(message) > MESSAGE_LENGTH or not message.isprintable():
        raise Fault(f"no clear line: {message[:MESSAGE_LENGTH]!r}")


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Fault(f"hangs: more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
