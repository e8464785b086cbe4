"""Planted faults: a bench that does not see them is no proof."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwq.errors import HwqError
from hwq.numerics.array import ArraySpec
from hwq.rtl.array import Array
from hwq.rtl.catalog import TWINS
from hwq.rtl.emit import emit
from hwq.rtl.shared import emit_shared
from hwq.sim.array import CycleModel, Run, run_arrays
from hwq.sim.array_cases import PES, matrices, shapes
from hwq.sim.bank import build
from hwq.sim.cases import job
from hwq.sim.component import ALONE, build_components
from hwq.sim.fault import Fault
from hwq.sim.faults_of_arrays import OF_ARRAYS
from hwq.sim.faults_of_products import OF_PRODUCTS
from hwq.sim.faults_of_rows import OF_ROWS
from hwq.sim.faults_of_values import OF_VALUES
from hwq.sim.runner import Job, run_jobs

FEW = 4000
"""Inputs of the first try, and cycles of its adversarial benches: most faults are seen by then."""
NAME = "hwq_mutant"
"""What the module is called until each mutant gets its own name."""
DEPTH, PRODUCTS = 64, 20
"""Of an array with a fault: words of its memories, products that it runs."""
FAULTS = {**OF_VALUES, **OF_PRODUCTS, **OF_ROWS}
"""Stem and label of the case -> its faults."""
MUTATIONS: Mapping[str, tuple[tuple[str, Fault], ...]] = {
    stem: tuple(
        (label, fault)
        for (owner, label), faults in FAULTS.items()
        if owner == stem
        for fault in faults
    )
    for stem, _ in FAULTS
}
"""Stem -> the cases and faults planted in it."""


class FaultMisplaced(HwqError):
    """The fragment of a fault is not there as often as it says."""


Edit = tuple[int, int, str]
"""From where to where, and what is there instead."""


def planted(text: str, fault: Fault) -> str:
    """Return the Verilog `text` of the module NAME with `fault` in it.

    Raises
    ------
    FaultMisplaced
        If the fragment does not occur exactly as often as the fault says.
    """
    changed, end = [], 0
    for start, after, wrong in edits(text, fault):
        changed += [text[end:start], wrong]
        end = after
    return "".join(changed) + text[end:]


def edits(text: str, fault: Fault) -> list[Edit]:
    """Return what plants a fault; arguments and errors as of `planted`."""
    start, body = module_body(text, fault.module)
    found = []
    for number, match in enumerate(_matches(body, fault, fault.right, fault.count), start=1):
        if fault.nth not in (0, number):
            continue
        numbers = match.groupdict()
        if fault.given:
            (given,) = _matches(body, fault, fault.given, 1, numbers)
            numbers |= given.groupdict()
        wrong = _numbered(_raw(fault.wrong), numbers)
        found.append((start + match.start(), start + match.end(), wrong))
    return found


def module_body(text: str, module: str) -> tuple[int, str]:
    """Return where a submodule of NAME begins, or NAME itself for none; and its text."""
    # submodules of one instance, and those that several share
    names = [f"\\{NAME}.{module} ", f"{NAME}_{module}"] if module else [NAME]
    (start,) = (at for name in names if (at := text.find(f"module {name}(")) >= 0)
    return start, text[start : text.index("endmodule", start)]


_LETTER = re.compile(r"\$([A-Z])(?![A-Za-z0-9_])")


def _numbered(fragment: str, numbers: Mapping[str, str]) -> str:
    """Return a fragment with the numbers of its letters."""
    return _LETTER.sub(lambda letter: f"${numbers.get(letter[1], letter[1])}", fragment)


def _matches(
    body: str, fault: Fault, fragment: str, count: int, numbers: Mapping[str, str] | None = None
) -> list[re.Match[str]]:
    """Return where a fragment occurs, as often as it should; some letters may be known."""
    seen: set[str] = set()

    def number(letter: re.Match[str]) -> str:
        name = letter[1]
        pattern = rf"\$(?P={name})" if name in seen else rf"\$(?P<{name}>\d+)"
        seen.add(name)
        return pattern

    escaped = re.escape(_numbered(_raw(fragment), numbers or {}))
    pattern = _LETTER.sub(number, re.sub(r"\\(?=\$[A-Z](?![A-Za-z0-9_]))", "", escaped))
    matches = list(re.finditer(pattern, body))
    if len(matches) != count:
        raise FaultMisplaced(f"{fault.name}: {fragment!r} occurs {len(matches)} times, not {count}")
    return matches


def _raw(fragment: str) -> str:
    r"""Return a fragment with its signals as Yosys writes them: "$A " becomes "\$A "."""
    return re.sub(r"(?<![\w$\\])\$(?!signed\()", lambda _: "\\$", fragment)


def run_mutations(stem: str, simulator: str, seed: int) -> list[dict[str, Any]]:
    """Plant every fault of a unit and run all its benches; one row each.

    Parameters
    ----------
    stem : str
        Unit of the catalogue, in MUTATIONS.
    simulator : str
        From `find_simulator`.
    seed : int
        Seed of the random stalls.

    Returns
    -------
    list of dict
        unit, case, fault, caught, message: of the bench, or why nothing can see the fault.
        Such a fault counts as caught if the benches indeed pass.
    """
    units, texts, quick, thorough = {}, {}, [], []
    cases: dict[str, tuple[Job, Job, str]] = {}
    for number, (label, fault) in enumerate(MUTATIONS[stem]):
        if label not in cases:
            verified = emit(TWINS[stem].verified[label], NAME)
            cases[label] = job(stem, label, FEW), job(stem, label), verified
        few, every, text = cases[label]
        name = f"mutant_{number}"
        units[name] = every.unit
        texts[name] = planted(text, fault).replace(NAME, name)
        quick.append(Job(name, few.unit, few.inputs, budget=FEW))
        thorough.append(Job(name, every.unit, every.inputs))
    with tempfile.TemporaryDirectory(prefix=f"hwq_{stem}_") as work:
        bank = build(simulator, units, texts)
        outcomes = run_jobs(bank, quick, Path(work), seed)
        # what few inputs do not show, all may
        unseen = [number for number, outcome in enumerate(outcomes) if outcome.failure is None]
        again = run_jobs(bank, [thorough[number] for number in unseen], Path(work), seed)
        for number, outcome in zip(unseen, again, strict=True):
            outcomes[number] = outcome
    pairs = zip(MUTATIONS[stem], outcomes, strict=True)
    return [_row(stem, label, fault, outcome.failure) for (label, fault), outcome in pairs]


def run_array_mutations(simulator: str, model: CycleModel) -> list[dict[str, Any]]:
    """Plant every fault of arrays and run products on each; rows as of `run_mutations`.

    Parameters
    ----------
    simulator : str
        From `find_simulator`.
    model : callable
    """
    arrays, texts = {}, {}
    runs: list[Run] = []
    planned: list[tuple[str, Fault]] = []
    for (pe, dataflow, rows, columns), faults in OF_ARRAYS.items():
        spec = ArraySpec(rows, columns, dataflow, PES[pe.name], *(DEPTH,) * 3, extent_bits=8)
        array = Array(spec)
        text = emit_shared({ALONE: array}, NAME)
        rng = np.random.default_rng(0)
        products = [matrices(spec, rng, *s) for s in shapes(rows, columns, PRODUCTS, seed=0)]
        for fault in faults:
            name = f"mutant_{len(runs)}"
            arrays[name] = array
            texts[name] = planted(text, fault).replace(NAME, name)
            runs.append(Run(name, array, products))
            planned.append((f"{pe}_{dataflow}_{rows}x{columns}", fault))
    with tempfile.TemporaryDirectory(prefix="hwq_arrays_") as work:
        failures = run_arrays(build_components(simulator, arrays, texts), runs, model, Path(work))
    pairs = zip(planned, failures, strict=True)
    return [_row("array", label, fault, failure) for (label, fault), failure in pairs]


def _row(stem: str, label: str, fault: Fault, failure: str | None) -> dict[str, Any]:
    seen = failure is not None
    return {
        "unit": stem,
        "case": label,
        "fault": fault.name,
        "equivalent": fault.equivalent,
        "caught": seen != bool(fault.equivalent),
        "message": failure or fault.equivalent,
    }
