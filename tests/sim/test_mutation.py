"""The benches must see planted faults; all of a unit's are compiled as one bank."""

import pytest

pytest.importorskip("amaranth", reason="co-simulation needs Amaranth: pip install 'hwq[sim]'")

from hwq.numerics.array import DATAFLOWS
from hwq.numerics.pe import PE_KINDS
from hwq.rtl.catalog import TWINS
from hwq.sim.array import CycleModel
from hwq.sim.fault import Fault
from hwq.sim.faults_of_arrays import OF_ARRAYS
from hwq.sim.mutation import (
    MUTATIONS,
    NAME,
    FaultMisplaced,
    planted,
    run_array_mutations,
    run_mutations,
)

TEXT = f"""module {NAME}(a);
  assign \\$1  = a + 1'h1;
endmodule
module \\{NAME}.step (a);
  assign \\$1  = a + 1'h1;
  assign b = a + 1'h1;
endmodule
"""


@pytest.mark.slow
@pytest.mark.parametrize("stem", MUTATIONS)
def test_every_fault_is_seen(stem: str, simulator: str, seed: int) -> None:
    rows = run_mutations(stem, simulator, seed)
    missed = [(row["case"], row["fault"], row["message"]) for row in rows if not row["caught"]]
    assert not missed


@pytest.mark.slow
def test_every_fault_of_an_array_is_seen(simulator: str, cycle_model: CycleModel) -> None:
    rows = run_array_mutations(simulator, cycle_model)
    assert len(rows) == sum(map(len, OF_ARRAYS.values()))
    missed = [(row["case"], row["fault"], row["message"]) for row in rows if not row["caught"]]
    assert not missed


def test_arrays_of_all_kinds_have_faults() -> None:
    kinds, dataflows, _, _ = zip(*OF_ARRAYS, strict=True)
    assert set(kinds) == set(PE_KINDS.values())
    assert set(dataflows) == set(DATAFLOWS)
    for faults in OF_ARRAYS.values():
        assert len({(fault.name, fault.module) for fault in faults}) == len(faults)
        assert any(not fault.equivalent for fault in faults)
    # docs/cosimulation.md says so
    assert sum(not fault.equivalent for faults in OF_ARRAYS.values() for fault in faults) >= 30


def test_units_have_faults_of_their_own() -> None:
    assert set(MUTATIONS) == set(TWINS)
    visible = [
        fault for faults in MUTATIONS.values() for _, fault in faults if not fault.equivalent
    ]
    # docs/cosimulation.md says so
    assert len(visible) >= 170
    for stem, faults in MUTATIONS.items():
        assert len({(label, f.name, f.module) for label, f in faults}) == len(faults), stem
        assert sum(not fault.equivalent for _, fault in faults) >= 2, stem


def test_a_fault_is_planted_in_its_module_only() -> None:
    changed = planted(TEXT, Fault("test", "$A  = a + 1'h1;", "$A  = a;", module="step"))
    assert changed == TEXT[:80] + TEXT[80:].replace("\\$1  = a + 1'h1;", "\\$1  = a;")


def test_a_fault_is_planted_in_what_several_submodules_share() -> None:
    text = TEXT.replace(f"\\{NAME}.step ", f"{NAME}_Step_0")
    changed = planted(text, Fault("test", "b = a + 1'h1;", "b = a;", module="Step_0"))
    assert changed == text.replace("b = a + 1'h1;", "b = a;")


@pytest.mark.parametrize(("module", "count"), [("", 2), ("step", 1)])
def test_a_fault_must_be_there_as_often_as_it_says(module: str, count: int) -> None:
    with pytest.raises(FaultMisplaced, match=rf"occurs {3 - count} times, not {count}"):
        planted(TEXT, Fault("test", "a + 1'h1;", "a;", module, count))


LETTERS = f"""module {NAME}(a, b);
assign \\$7  = a & \\b$3 ;
assign \\$8  = a & \\b$4 ;
assign \\$9  = \\$8  | \\$7 ;
assign $signed(\\$9 ) = \\c$2$5 ;
endmodule
"""


@pytest.mark.parametrize(
    ("fault", "line", "new"),
    [
        (Fault("", "$A  | $B ;", "$B  | $B ;"), "\\$8  | \\$7 ;", "\\$7  | \\$7 ;"),
        (Fault("", "= a & \\b$A ;", "= a;", count=2, nth=2), "= a & \\b$4 ;", "= a;"),
        (
            Fault("", "$A  | $B ;", "\\b$C ;", given="$B  = a & \\b$C ;"),
            "\\$8  | \\$7 ;",
            "\\b$3 ;",
        ),
        (Fault("", "$signed($A ) =", "$A  ="), "$signed(\\$9 ) =", "\\$9  ="),
        (Fault("", "\\c$A$B ;", "\\c$B$A ;"), "\\c$2$5 ;", "\\c$5$2 ;"),
    ],
)
def test_a_letter_is_a_number_of_yosys(fault: Fault, line: str, new: str) -> None:
    assert LETTERS.count(line) == 1
    assert planted(LETTERS, fault) == LETTERS.replace(line, new)


def test_a_letter_is_the_same_number_wherever_it_stands() -> None:
    with pytest.raises(FaultMisplaced, match="occurs 0 times, not 1"):
        planted(LETTERS, Fault("", "$A  | $A ;", "$A ;"))
