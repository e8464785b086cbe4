"""`arch` may not read `numerics`, so both have these names; they are the same."""

from hwq.arch import kinds
from hwq.numerics import array, pe


def test_dataflows_and_kinds_of_elements_are_those_of_the_numerics():
    assert kinds.DATAFLOWS == array.DATAFLOWS
    assert kinds.PE_KINDS == pe.PE_KINDS
