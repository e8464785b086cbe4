import random

import numpy as np
import pytest

from hwq.errors import SpecError
from hwq.plan.commands import commands
from hwq.plan.make_plan import make_plan
from hwq.plan.words import decode, encode
from tests.plan.machines import machine
from tests.plan.programs import random_machine, random_program


@pytest.mark.parametrize("seed", range(60))
def test_words_are_the_commands(seed):
    rng = random.Random(seed)
    program, accelerator = random_program(rng), random_machine(rng)
    try:
        plan = make_plan(program, accelerator)
    except SpecError:
        pytest.skip("a row fits no buffer")
    for slot in commands(plan):
        words = encode(slot)
        assert words.dtype == np.int64
        assert decode(words) == slot


def some_words():
    plan = make_plan(random_program(random.Random(3)), machine(4, 4, (64, 64, 64)))
    return max(map(encode, commands(plan)), key=len)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words[:-1], "end too early"),
        (lambda words: np.append(words, 0), "go on behind its last transfer"),
        (lambda words: np.concatenate([[1, 9], words]), "must begin with 1 or 2, not 9"),
        (lambda words: np.array([1, 1, 0, 0, 0, 1, 1, -1]), "lacks a window"),
        (lambda words: np.array([1, 1, 0, 0, 0, 1, 1, 7]), "memory must be in 0..4, not 7"),
    ],
)
def test_words_of_no_slot_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        decode(change(some_words()))
