"""The diagrams in docs/units are drawn from the units."""

import re
from pathlib import Path

import pytest

from hwq.rtl.catalog import UNITS
from hwq.rtl.diagram import block_diagram

DOCS = Path(__file__).parents[2] / "docs/units"
BLOCK = re.compile(r"^```block\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("stem", UNITS)
def test_the_page_of_a_unit_has_its_diagram(stem: str, request: pytest.FixtureRequest) -> None:
    page = DOCS / f"{stem}.md"
    text = page.read_text(encoding="utf-8")
    drawn = block_diagram(UNITS[stem].default, stem)
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
