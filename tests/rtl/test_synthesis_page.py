"""The tables in docs/synthesis.md are those of synthesis.csv, of the ratios and of the proofs."""

import re
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

from hwq.arch.load import load_accelerator
from hwq.arch.node_scaling import read_table
from hwq.arch.pe_ratio import COLUMNS, measured, pe_ratio, recipe_ratios
from hwq.numerics.pe import MULTIPLY, PE_KINDS
from hwq.rtl.synthesis.designs import designs, parameters
from hwq.rtl.synthesis.flows import FLOWS
from hwq.rtl.synthesis.markdown import table, tables
from hwq.rtl.synthesis.table import COLUMNS as CSV_COLUMNS
from hwq.rtl.synthesis.whole_markdown import GROUPS, group, whole_tables
from hwq.rtl.synthesis.whole_table import COLUMNS as WHOLE_COLUMNS
from hwq.sim.proved import CASES

PAGE = Path(__file__).parents[2] / "docs/synthesis.md"
PLACE = re.compile(r"(<!-- (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
ROWS = read_table("synthesis.csv")
WHOLE = read_table("synthesis_edge_16x16.csv")
MACHINE = load_accelerator("edge_16x16")


def ratios() -> str:
    lines = []
    for kind in [*PE_KINDS.values()][1:]:
        for a, b in measured(kind, "area_um2"):
            cells = [f"{kind.name} {a} x {b}"]
            for quantity, column in COLUMNS.items():
                used = pe_ratio(kind, a, b, quantity)
                over = recipe_ratios(kind, (a, b), column).values()
                cells.append(f"**{used:.2f}** ({min(over):.2f} to {max(over):.2f})")
            glitches = [min(measured(k, "glitch_pj")[a, b].values()) for k in (kind, MULTIPLY)]
            cells.append(f"{glitches[0] / glitches[1]:.2f}")
            lines.append(cells)
    return table(("PE, a x b", "area", "energy", "energy with glitches"), lines)


def proofs() -> str:
    lines = []
    for case in CASES.values():
        proof = case.proof()
        for_all_time = "yes" if proof.invariants else "no"
        lines.append(
            (case.stem, f"`{parameters(proof.unit)}`", f"{case.cycles} cycles", for_all_time)
        )
    return table(("unit", "parameters", "bounded", "for all time"), lines, left=4)


def test_every_design_has_a_row_of_every_flow() -> None:
    assert tuple(ROWS[0]) == CSV_COLUMNS
    found = [(r["block"], r["name"], r["parameters"], r["target"], r["recipe"]) for r in ROWS]
    wanted = [
        (design.block, design.name, design.parameters, flow.target, flow.recipe)
        for design in designs([])
        for flow in FLOWS
    ]
    assert found == wanted


def test_the_page_has_the_tables(request: pytest.FixtureRequest) -> None:
    wanted = {
        **tables(ROWS),
        **whole_tables(WHOLE, MACHINE),
        "pe_ratios": ratios(),
        "proofs": proofs(),
    }
    text = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        text = PLACE.sub(lambda m: f"{m[1]}{wanted[m[2]]}\n{m[4]}", text)
        PAGE.write_text(text, encoding="utf-8")
    found = {name: content.rstrip("\n") for _, name, content, _ in PLACE.findall(text)}
    assert found == wanted


@pytest.mark.parametrize("target", ("ecp5", "osu018"))
def test_the_sum_of_an_accelerator_is_that_of_its_lines(target: str) -> None:
    assert tuple(WHOLE[0]) == WHOLE_COLUMNS
    rows = [row for row in WHOLE if row["target"] == target]
    *kinds, last = rows
    assert {group(row["part"]) for row in kinds} == set(GROUPS)
    counts = {row["part"]: int(row["count"]) for row in kinds}
    assert counts["StationaryPe"] == MACHINE.array.rows * MACHINE.array.columns
    assert counts["EpilogueCore"] == MACHINE.vector_unit.lanes
    column = "lut" if target == "ecp5" else "gates"
    assert int(last[column]) == sum(int(row["count"]) * int(row[column]) for row in kinds)


def test_addresses_are_a_line_of_their_own() -> None:
    assert group("dma.buffer_walk") == group("vector.y_walk") == "addresses"
    assert group("product.core.controller.walk") == "rest of the array"
    assert group("vector.norm.affine.lane") == "layer norm" and group("vector") != "layer norm"
