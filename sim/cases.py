"""The cases of the catalogue: which vectors each one is run with, and what comes of them."""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.rtl.catalog import TWINS
from hwq.rtl.delivery import chosen
from hwq.rtl.emit import emit
from hwq.sim.bank import Bank, build
from hwq.sim.runner import BenchFailed, Job, verify_all
from hwq.testing import stimulus


def vectors(stem: str, label: str) -> NDArray[np.int64]:
    """Return the inputs of a case: its own, or those of `hwq.testing.stimulus`."""
    special = TWINS[stem].stimuli.get(label)
    return special() if special else stimulus(TWINS[stem].verified[label])


@cache
def bank(simulator: str, stem: str) -> Bank:
    """Compile all cases of a unit as one bank."""
    units = {f"{stem}_{label}": unit for label, unit in TWINS[stem].verified.items()}
    # names are unique within a unit, but emitting takes a while
    return build(simulator, units, {name: emit(unit, name) for name, unit in units.items()})


def job(stem: str, label: str, limit: int | None = None) -> Job:
    """Return the job of a case, with all its inputs or those of about the first `limit`."""
    unit = TWINS[stem].verified[label]
    inputs = vectors(stem, label)
    if limit is None or limit >= len(inputs):
        constant = TWINS[stem].constant.get(label, "")
        return Job(f"{stem}_{label}", unit, inputs, constant=constant)
    # enough results for an interval
    some = chosen(unit, inputs, max(limit, 4 * unit.inputs_per_result))
    return Job(f"{stem}_{label}", unit, some, coverage=False)


def verify_unit(
    stem: str, simulator: str, seed: int, limit: int | None = None
) -> list[dict[str, Any]]:
    """Run all cases of a unit; a row of figures for each, with "ok" and "message".

    Parameters
    ----------
    stem : str
        Unit of the catalogue.
    simulator : str
        From `find_simulator`.
    seed : int
        Seed of the random stalls.
    limit : int, optional
        Use about so many inputs of each case.
    """
    verified = TWINS[stem].verified
    jobs = [job(stem, label, limit) for label in verified]
    # if one fails, the folder stays: it has the waves and the simulator's log
    work = Path(tempfile.mkdtemp(prefix=f"hwq_{stem}_"))
    results = verify_all(bank(simulator, stem), jobs, work, seed)
    rows: list[dict[str, Any]] = []
    for (label, unit), figures in zip(verified.items(), results, strict=True):
        row = {
            "unit": stem,
            "case": label,
            "latency_stated": unit.latency_cycles,
            "interval_stated": unit.interval_cycles,
        }
        if isinstance(figures, BenchFailed):
            rows.append({**row, "ok": False, "message": str(figures)})
            continue
        cycles = sum(n for name, n in figures.items() if name.endswith("_cycles") and _ran(name))
        rows.append({**row, **figures, "cycles": cycles, "ok": True, "message": ""})
    if all(row["ok"] for row in rows):
        shutil.rmtree(work)
    return rows


def _ran(figure: str) -> bool:
    """Whether a figure is the cycles of a bench."""
    return figure not in {"latency_cycles", "interval_cycles", "stalled_cycles"}
