"""Vectors -> cocotb run of a built bank -> what was measured, or what failed."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwq.rtl.payload import fields, hex_lines
from hwq.rtl.pipeline import StreamUnit
from hwq.sim.bank import Bank, BuildFailed, build
from hwq.sim.launch import launch
from hwq.sim.patterns import PATTERNS, Cost
from hwq.sim.tools import wave_suffixes

BUDGET = 40_000
"""Cycles of one adversarial bench, about."""

log = logging.getLogger("hwq.sim")


class BenchFailed(AssertionError):
    """A bench failed; the message is the bench's."""


@dataclass(frozen=True)
class Job:
    """What one unit of a bank is run with.

    Parameters
    ----------
    name : str
        The unit's name in the bank.
    unit : StreamUnit
        Says what must come out (`unit.compute`) and when.
    inputs : int64[n] or int64[n, fields]
        Payloads to send.
    patterns : sequence of str
        Benches to run, from `patterns.PATTERNS`.
    budget : int
        Cycles of one adversarial bench, about.
    coverage : bool
        Whether the corners of every field must be among the inputs, and outputs must differ.
    constant : str
        Why all outputs are the same, where they are meant to be.
    """

    name: str
    unit: StreamUnit
    inputs: NDArray[np.int64]
    patterns: Sequence[str] = tuple(PATTERNS)
    budget: int = BUDGET
    coverage: bool = True
    constant: str = ""

    def entry(self) -> dict[str, object]:
        """Return what the bench reads."""
        unit = self.unit
        cost = Cost(
            unit.latency_cycles,
            unit.interval_cycles,
            unit.inputs_per_result,
            unit.outputs_per_result,
        )
        return {
            "name": self.name,
            "inputs": hex_lines(unit.i.payload.shape(), self.inputs),
            "wanted": hex_lines(unit.o.payload.shape(), unit.compute(self.inputs)),
            "cost": asdict(cost),
            "patterns": list(self.patterns),
            "budget": self.budget,
        }


@dataclass(frozen=True)
class Outcome:
    """What came of one job.

    Parameters
    ----------
    figures : mapping of str to int
        Cycles and counts, as far as the benches came.
    failure : str, optional
        The message of the bench that failed.
    result : int, optional
        The number of the first wrong result, where values differed.
    """

    figures: Mapping[str, int] = field(default_factory=dict)
    failure: str | None = None
    result: int | None = None


def run_jobs(
    bank: Bank, jobs: Sequence[Job], work: Path, seed: int, waves: Path | None = None
) -> list[Outcome]:
    """Run jobs one after the other in one process; one per crash more.

    Parameters
    ----------
    bank : Bank
        Holds the units that the jobs name.
    jobs : sequence of Job
        What to run.
    work : Path
        Folder for the run's files.
    seed : int
        Seed of the random stalls.
    waves : Path, optional
        File for the waves, if the bank can write them.
    """
    # jobs often share unit and inputs, whose outputs take a while
    distinct = {(id(job.unit), id(job.inputs)): job for job in jobs}
    shared = {key: job.entry() for key, job in distinct.items()}
    entries = []
    for job in jobs:
        entry = {"name": job.name, "patterns": list(job.patterns), "budget": job.budget}
        entries.append({**shared[id(job.unit), id(job.inputs)], **entry})
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        results = launch(bank, "tb_stream", entries[len(outcomes) :], work, seed, waves)
        outcomes += [Outcome(**outcome) for outcome in results]
        if len(outcomes) < len(jobs):
            message = f"the simulator stopped before the bench did; see {work / 'run.log'}"
            outcomes.append(Outcome(failure=message))
    return outcomes


def _powers(bits: int) -> list[int]:
    """Return the powers of two of either sign."""
    return [sign * (1 << k) for k in range(bits) for sign in (1, -1)]


def check_coverage(unit: StreamUnit, inputs: NDArray[np.int64]) -> None:
    """Raise BenchFailed if a corner of an input field is not among the inputs.

    Corners are the ends of what is legal, 0, -1 and the powers of two; of units that make their own
    stimulus, of fields that depend on each other, only the ends, 0 and -1.
    """
    has_stimulus = unit.stimulus(np.random.default_rng(0), 1) is not None
    shapes = fields(unit.i.payload.shape())
    columns = inputs.reshape(len(inputs), -1)
    for number, (shape, (low, high)) in enumerate(zip(shapes, unit.legal_inputs, strict=True)):
        near = [low, high, 0, -1, *([] if has_stimulus else _powers(shape.width))]
        corners = [corner for corner in near if low <= corner <= high]
        missing = np.setdiff1d(corners, columns[:, number])
        if missing.size:
            raise BenchFailed(f"field {number} was never sent {missing[:4].tolist()}")


def check_outputs(job: Job, distinct: int) -> None:
    """Raise BenchFailed if all outputs are the same and the job does not say why, or says so."""
    if distinct == 1 and not job.constant:
        raise BenchFailed(f"{job.name}: every output is the same, so the benches see no fault")
    if distinct > 1 and job.constant:
        raise BenchFailed(f"{job.name}: outputs differ, although {job.constant}")


def verify(bank: Bank, job: Job, work: Path, seed: int) -> dict[str, int]:
    """Run all benches of one unit and return what was measured; see `verify_all`.

    Raises
    ------
    BenchFailed
        With the bench's own message, and the path of the waves.
    """
    (result,) = verify_all(bank, [job], work, seed)
    if isinstance(result, BenchFailed):
        raise result
    return result


def verify_all(
    bank: Bank, jobs: Sequence[Job], work: Path, seed: int
) -> list[dict[str, int] | BenchFailed]:
    """Run all benches of several units in one process; what was measured of each, or its failure.

    Parameters
    ----------
    bank : Bank
        Holds the units.
    jobs : sequence of Job
        What to run.
    work : Path
        Folder for the run's files; a failing job leaves its waves there.
    seed : int
        Seed of the random stalls.
    """
    results: list[dict[str, int] | BenchFailed] = []
    for job, outcome in zip(jobs, run_jobs(bank, jobs, work, seed), strict=True):
        try:
            results.append(_judged(bank.simulator, job, outcome, work, seed))
        except BenchFailed as failed:
            results.append(failed)
    return results


def _judged(simulator: str, job: Job, outcome: Outcome, work: Path, seed: int) -> dict[str, int]:
    """Return what was measured, or raise BenchFailed."""
    if job.coverage:
        check_coverage(job.unit, job.inputs)
    if outcome.failure is not None:
        waves = keep_waves(simulator, job, outcome, work, seed)
        raise BenchFailed(f"{job.name}: {outcome.failure}; {waves}")
    if job.coverage:
        check_outputs(job, outcome.figures["distinct_outputs"])
    figures = {**outcome.figures, "vectors": len(job.inputs)}
    log.info("%s: seed %d, %s", job.name, seed, figures)
    return figures


def keep_waves(simulator: str, job: Job, outcome: Outcome, work: Path, seed: int) -> str:
    """Run the failing bench again with waves on and say where they are, or why there are none.

    The file ends a little after the first wrong result.
    """
    name = (outcome.failure or "").split(",")[0]
    inputs = job.inputs
    if outcome.result is not None:
        inputs = inputs[: (outcome.result + 4) * job.unit.inputs_per_result]
    # after_reset is a pattern of its own, so the benches before the failing one do not matter
    patterns = [name] if name in PATTERNS else list(job.patterns)
    again = Job(job.name, job.unit, inputs, patterns, job.budget)
    for suffix in wave_suffixes(simulator):
        try:
            bank = build(simulator, {job.name: job.unit}, waves=suffix)
        except BuildFailed:
            continue
        file = work.absolute() / f"{job.name}{suffix}"
        folder = work / "waves"
        folder.mkdir(exist_ok=True)
        (second,) = run_jobs(bank, [again], folder, seed, file)
        shutil.rmtree(folder)
        if not file.exists() or not os.path.getsize(file):
            continue
        return f"waves: {file}" + ("" if second.failure else " (this run did not fail)")
    return "no waves: the simulator was built without a library that they need"
