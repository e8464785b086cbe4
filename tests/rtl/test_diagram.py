"""The diagrams in docs/units are drawn from the units and from the array's controller."""

import re
from pathlib import Path

import pytest

from hwq.arch.systolic import matmul_cycles
from hwq.numerics.array import DATAFLOWS, ArraySpec
from hwq.rtl.catalog import TWINS
from hwq.rtl.diagram import block_diagram
from hwq.rtl.timing_diagram import timing_diagram

DOCS = Path(__file__).parents[2] / "docs/units"
BLOCK = re.compile(r"^```block\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
TIMING = re.compile(r"^```timing\n(.*?)```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("stem", TWINS)
def test_the_page_of_a_unit_has_its_diagram(stem: str, request: pytest.FixtureRequest) -> None:
    page = DOCS / f"{stem}.md"
    text = page.read_text(encoding="utf-8")
    drawn = block_diagram(TWINS[stem].default, stem)
    if request.config.getoption("--update-golden"):
        block = f"```block\n{drawn}\n```"
        if BLOCK.search(text):
            text = BLOCK.sub(lambda _: block, text)
        else:
            text = f"{text.rstrip()}\n\n## Block diagram\n\nOf the default parameters.\n\n{block}\n"
        page.write_text(text, encoding="utf-8")
    found = BLOCK.search(text)
    assert found is not None, f"{page.name} has no diagram; pytest --update-golden draws it"
    assert found[1] == drawn


def test_the_page_of_the_array_has_its_timing(request: pytest.FixtureRequest) -> None:
    page = DOCS / "array.md"
    drawn = "\n".join(
        f"{dataflow}\n{timing_diagram(ArraySpec(3, 2, dataflow), 5, 7, 4)}\n"
        for dataflow in DATAFLOWS
    )
    text = page.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        text = TIMING.sub(lambda _: f"```timing\n{drawn}```", text)
        page.write_text(text, encoding="utf-8")
    found = TIMING.search(text)
    assert found is not None and found[1] == drawn


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 4), (4, 2, 9)])
def test_a_timing_diagram_is_as_long_as_the_cost_model_says(
    dataflow: str, shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    *lines, busy = timing_diagram(ArraySpec(3, 2, dataflow), *shape).splitlines()
    cycles = matmul_cycles(m, n, k, 3, 2, dataflow, "rtl")
    assert busy == f"{'busy':12}s{'#' * (cycles - 1)} {cycles} cycles"
    stream, sums = lines[-2:]
    words = {"output_stationary": k, "weight_stationary": m, "input_stationary": n}[dataflow]
    assert stream.count("a", 12) == words
    assert len(sums) == 12 + cycles and sums[-1] != "."
