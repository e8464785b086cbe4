from dataclasses import fields
from pathlib import Path

import pytest

from hwq.errors import UsageError
from hwq.request import CALIBRATE, EVALUATE, IN_THE_FILE, SIMULATE, Request


def test_simulate_takes_every_field_and_the_others_some():
    names = {field.name for field in fields(Request)}
    assert set(SIMULATE) == names
    assert set(CALIBRATE) < names and set(EVALUATE) < names and set(IN_THE_FILE) < names


def test_what_was_given_is_what_differs_from_the_defaults():
    request = Request(model="deit_t", seed=0, options={"taps": 2})
    assert request.given() == {"model": "deit_t", "seed": 0, "options": {"taps": 2}}


@pytest.mark.parametrize(
    ("given", "verb", "message"),
    [
        ({"timing": "rtl"}, "calibrate", "timing is not for calibrate"),
        ({"data": Path("x")}, "calibrate", "data is not for calibrate"),
        ({"method": "minmax"}, "evaluate", "method is not for evaluate"),
        ({"resume": True}, "evaluate", "resume is not for evaluate"),
    ],
)
def test_a_field_that_a_verb_does_not_take_is_refused(given, verb, message):
    from hwq import api

    with pytest.raises(UsageError, match=f"^{message}$"):
        getattr(api, verb)(Request(model="deit_t", **given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": 0}, "limit must be at least 1, not 0"),
        ({"weights": Path("w"), "pretrained": True}, "weights and pretrained exclude each other"),
    ],
)
def test_a_request_that_makes_no_sense_cannot_be_made(given, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        Request(**given)
