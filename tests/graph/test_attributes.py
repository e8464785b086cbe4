from dataclasses import dataclass

import numpy as np
import pytest

from hwq.errors import GraphError, SpecError
from hwq.graph.attributes import (
    SHAPE,
    TRUTH,
    check_attributes,
    instance,
    number,
    one_of,
    several,
    whole,
)
from hwq.graph.fields import check_fields
from hwq.numerics.fixed_point import FixedPoint


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (whole(0, 3), (0, 3, np.int64(2)), (-1, 4, True, 1.0, "1", None, 10**30)),
        (number(0, 1), (0, 1, 0.5, np.float64(0.25)), (1.5, float("nan"), float("inf"), True, "0")),
        (one_of(2, "e"), (2, "e"), (2.0, True, "2", None, [])),
        (TRUTH, (True, False), (0, 1, None, "True")),
        (SHAPE, ((), (1, 2)), ([1, 2], (0,), (-1,), (True,), (1.0,), 3, None)),
        (several(0, 9, 2), ((0, 9),), ((1,), (1, 2, 3), (1, 10))),
        (instance("FixedPoint"), (FixedPoint(8, 0),), (8, None, "FixedPoint", FixedPoint)),
    ],
)
def test_kinds(kind, right, wrong):
    assert all(kind.holds(value) for value in right)
    assert not any(kind.holds(value) for value in wrong)


def test_an_attribute_is_named_with_its_value_and_what_it_may_be():
    kinds = {"axis": whole(0, 3), "keepdim": TRUTH}
    check_attributes({"axis": 1, "keepdim": True, "more": 1}, kinds)
    with pytest.raises(GraphError, match=r"^lacks attribute axis, keepdim$"):
        check_attributes({}, kinds)
    with pytest.raises(GraphError, match=r"^axis must be a whole number in 0\.\.3, not 4$"):
        check_attributes({"axis": 4, "keepdim": True}, kinds)


@dataclass
class Example:
    whole: int
    real: float
    words: tuple[str, ...] = ()
    either: int | None = None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"real": 1.0}, "lacks field 'whole'"),
        ({"whole": 1, "real": 1, "more": 2}, "unknown field 'more'; known: whole, real, words"),
        ({"whole": True, "real": 1}, "whole must be int, not True"),
        ({"whole": 1.0, "real": 1}, "whole must be int, not 1.0"),
        ({"whole": 1, "real": "1"}, "real must be float, not '1'"),
        ({"whole": 1, "real": 1, "words": ["a"]}, "words must be "),
        ({"whole": 1, "real": 1, "words": ("a", 1)}, "words must be "),
        ({"whole": 1, "real": 1, "either": 1.5}, "either must be "),
    ],
)
def test_fields_of_a_dataclass(given, words):
    check_fields(Example, {"whole": 1, "real": 2, "words": ("a",), "either": None})
    with pytest.raises(SpecError, match=f"^{words}"):
        check_fields(Example, given)
