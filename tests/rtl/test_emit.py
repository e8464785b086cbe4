import re

import pytest

from hwq.rtl.catalog import UNITS
from hwq.rtl.emit import emit


@pytest.mark.parametrize("stem", UNITS)
def test_text_is_deterministic_and_names_its_parameters(stem: str) -> None:
    text = emit(UNITS[stem].default, stem)
    assert emit(UNITS[stem].default, stem) == text
    header = text.splitlines()[:3]
    assert header[0] == f"// hwq.rtl.{stem}.{type(UNITS[stem].default).__name__}"
    assert header[1] == f"// {UNITS[stem].default.spec!r}"
    assert re.fullmatch(r"// latency \d+ cycles, a result every \d+ cycles", header[2])


@pytest.mark.parametrize("stem", UNITS)
def test_module_has_the_stream_ports(stem: str) -> None:
    text = emit(UNITS[stem].default, stem)
    ports = re.search(rf"^module {stem}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert ports is not None
    streams = {f"{side}__{signal}" for side in "io" for signal in ("payload", "valid", "ready")}
    assert {name.strip() for name in ports[1].split(",")} == {"clk", "rst"} | streams


@pytest.mark.parametrize(
    ("stem", "label"), [("range_extract", "smallest"), ("scale_predictor", "one_scale")]
)
def test_no_vector_of_no_bits_is_written(stem: str, label: str) -> None:
    assert "[-1:0]" not in emit(UNITS[stem].verified[label], stem)
