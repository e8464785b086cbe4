"""Payloads as bits: against Python's own integers."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[sim]'")

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from hwq.errors import SpecError
from hwq.rtl.payload import ends, fields, hex_lines, pack, unpack, width

PAIR = data.StructLayout({"code": unsigned(3), "exponent": signed(5)})
LAYOUTS = [
    unsigned(1),
    signed(9),
    unsigned(16),
    signed(48),
    PAIR,
    data.ArrayLayout(signed(13), 7),
    data.StructLayout({"pairs": data.ArrayLayout(PAIR, 3), "last": unsigned(1)}),
]


def values_of(layout) -> np.ndarray:
    """Both ends of every field, and random ones."""
    limits = [ends(shape) for shape in fields(layout)]
    rng = np.random.default_rng(0)
    random = [rng.integers(low, high, 50, endpoint=True) for low, high in limits]
    return np.concatenate([np.array(limits).T, np.array(random).T])


@pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
def test_fields_lie_one_above_the_other(layout) -> None:
    values = values_of(layout)
    wanted = []
    for row in values.tolist():
        word = at = 0
        for value, shape in zip(row, fields(layout), strict=True):
            word += value % (1 << shape.width) << at
            at += shape.width
        wanted.append(word)
    assert pack(layout, values) == wanted
    digits = -(-width(layout) // 4)
    assert hex_lines(layout, values) == "".join(f"{word:0{digits}x}\n" for word in wanted)
    one = len(fields(layout)) == 1
    assert_array_equal(unpack(layout, wanted), values[:, 0] if one else values)


def test_no_payloads_are_no_lines() -> None:
    assert pack(PAIR, np.zeros((0, 2), np.int64)) == []
    assert hex_lines(PAIR, np.zeros((0, 2), np.int64)) == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[8, 0]], r"field 0 must be in 0\.\.7, not 8"),
        ([[0, 0], [0, -17]], r"field 1 must be in -16\.\.15, not -17"),
        ([[0, 0, 0]], "values must have 2 columns, one a field, not 3"),
    ],
)
def test_what_does_not_fit_is_refused(values: list[list[int]], message: str) -> None:
    for function in (pack, hex_lines):
        with pytest.raises(SpecError, match=message):
            function(PAIR, np.array(values))
