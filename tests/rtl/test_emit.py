import re
from collections import defaultdict
from dataclasses import replace

import pytest

from hwq.numerics.range_extract import RangeExtractSpec
from hwq.rtl.catalog import TWINS
from hwq.rtl.emit import emit
from hwq.rtl.layer_norm import LayerNorm
from hwq.rtl.parameters import parameters
from hwq.rtl.range_extract import RangeExtract

SAID = {
    ("log2", "narrow"): "in_bits=9 bits=6 steps_per_octave=1 offset=2 max_exponent=7",
    ("requantize", "acc16"): (
        "mult=45001 shift=23 zero_point=-19 out_bits=6 signed=True acc_bits=16"
    ),
    ("uniform", "fractions"): "mult=61166 shift=28 zero_point=0 bits=4 signed=False x=unsigned(16)",
    ("softmax", "length5_lanes1"): "frac=1 length=5 lanes=1 in_bits=7",
    ("outlier_split", "one_channel"): (
        "mult=[7]#e5b1938e0fab shift=[7]#bf4ea2353eca zero_point=7 threshold=2500 bits=4 "
        "channels=1 x=signed(16)"
    ),
    ("outlier_join", "many_outliers"): (
        "row_mult=[4095,1,2731] correction=[5]#5c5a709f6bdc channels=40"
    ),
    ("layer_norm", "length13_lanes4"): (
        "dim=13 epsilon=1073741824 gamma_shift=15 out.bits=9 out.frac=7 out.signed=False "
        "centered=True gamma=[13]#d3755eb7c0ec beta=[13]#a4915c9771c6 lanes=4"
    ),
    ("scale_predictor", "degree1"): (
        "range_extract.channels=2 range_extract.chunk_tokens=2 range_extract.chunks=1 "
        "projection=((89,35),(2,-59)) offsets=(-1575,-3761) "
        "coefficients=(((-2900,),(1879,)),((2476,),(639,))) biases=(941,458) shift=7 limit=4096"
    ),
}
"""Case -> its parameters in the header."""


@pytest.mark.parametrize("stem", TWINS)
def test_text_is_deterministic_and_names_its_unit_and_cycles(stem: str) -> None:
    text = emit(TWINS[stem].default, stem)
    assert emit(TWINS[stem].default, stem) == text
    header = text.splitlines()[:3]
    assert header[0] == f"// hwq.rtl.{stem}.{type(TWINS[stem].default).__name__}"
    assert re.fullmatch(r"// latency \d+ cycles, a result every \d+ cycles", header[2])


@pytest.mark.parametrize(("stem", "label"), SAID)
def test_header_names_every_parameter(stem: str, label: str) -> None:
    text = emit(TWINS[stem].verified[label], stem)
    assert text.splitlines()[1] == f"// {SAID[stem, label]}"


@pytest.mark.parametrize("stem", TWINS)
def test_units_of_one_header_are_one_hardware(stem: str) -> None:
    alike = defaultdict(list)
    for unit in TWINS[stem].verified.values():
        alike[parameters(unit, digests=True)].append(unit)
    for units in alike.values():
        bodies = {"\n".join(emit(unit, stem).splitlines()[3:]) for unit in units[1:]}
        assert len(units) == 1 or bodies == {"\n".join(emit(units[0], stem).splitlines()[3:])}


def test_one_other_number_of_a_table_is_another_header() -> None:
    unit = TWINS["layer_norm"].verified["length13_lanes4"]
    gamma = unit.spec.gamma.copy()
    gamma[12] += 1
    other = LayerNorm(replace(unit.spec, gamma=gamma), 4)
    assert parameters(other) == parameters(unit)
    assert parameters(other, digests=True) != parameters(unit, digests=True)


@pytest.mark.parametrize("stem", TWINS)
def test_module_has_the_stream_ports(stem: str) -> None:
    text = emit(TWINS[stem].default, stem)
    ports = re.search(rf"^module {stem}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert ports is not None
    streams = {f"{side}__{signal}" for side in "io" for signal in ("payload", "valid", "ready")}
    assert {name.strip() for name in ports[1].split(",")} == {"clk", "rst"} | streams


@pytest.mark.parametrize(
    "unit",
    [
        RangeExtract(RangeExtractSpec(channels=2, chunk_tokens=1, chunks=1)),
        TWINS["scale_predictor"].verified["one_scale"],
    ],
    ids=["one_token", "one_scale"],
)
def test_no_vector_of_no_bits_is_written(unit) -> None:
    assert "[-1:0]" not in emit(unit, "smallest")
