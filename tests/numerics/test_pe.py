import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwq.errors import SpecError
from hwq.numerics.pe import (
    MULTIPLY,
    MULTIPLY_SHIFT,
    SHIFT,
    SHIFT_PARITY,
    PeSpec,
    pe_reference,
    wrapped,
)

SPECS = {
    "multiply": PeSpec(MULTIPLY, 4, 4, 12),
    "signed": PeSpec(MULTIPLY, 4, 4, 8, (*range(8), *range(-8, 0))),
    "shift": PeSpec(SHIFT, 3, 4, 16, (1,) * 7 + (0,), (6, 5, 4, 3, 2, 1, 0, 0)),
    "negative": PeSpec(SHIFT, 2, 4, 10, (1, -1, 1, -1), (0, 0, 3, 3)),
    "shift_parity": PeSpec(SHIFT_PARITY, 2, 4, 12, (), (1, 1, 0, 0), (0, 1, 0, 1)),
    "multiply_shift": PeSpec(MULTIPLY_SHIFT, 4, 8, 16, (*range(8), *range(8)), (0,) * 8 + (3,) * 8),
}


@pytest.mark.parametrize("name", SPECS)
def test_every_code_and_operand_equal_the_reference(name):
    spec = SPECS[name]
    half = 1 << (spec.b_bits - 1)
    a, b = (x.ravel() for x in np.meshgrid(np.arange(1 << spec.a_bits), np.arange(-half, half)))
    acc = np.random.default_rng(0).integers(-100, 100, (spec.planes, a.size))
    got = spec.compute(acc, a, b)
    want = [pe_reference(acc[:, i].tolist(), int(a[i]), int(b[i]), spec) for i in range(a.size)]
    assert got.T.tolist() == want
    assert np.abs(spec.products(a, b)).max() < 1 << (spec.product_bits - 1)


def test_a_negative_code_is_taken_modulo():
    spec = SPECS["signed"]
    zero = np.zeros((1, 1), np.int64)
    assert spec.compute(zero, np.array([-3]), np.array([5])).tolist() == [[-15]]


@given(st.integers(-(2**60), 2**60), st.integers(2, 62))
def test_a_register_wraps(value, bits):
    got = int(wrapped(np.array([value]), bits)[0])
    assert -(1 << (bits - 1)) <= got < 1 << (bits - 1)
    assert (got - value) % (1 << bits) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MULTIPLY, 0), "a_bits must be in 1..16, not 0"),
        ((MULTIPLY, 8, 1), "b_bits must be in 2..16, not 1"),
        ((MULTIPLY, 8, 8, 64), "acc_bits must be in 2..62, not 64"),
        ((MULTIPLY, 2, 8, 32, (0, 1)), "significand must have 4 entries, not 2"),
        ((SHIFT, 1, 8, 32, (1, 2)), "significand must be in -1..1, not 1..2"),
        ((SHIFT, 1, 8, 32, (), (0, 16)), "shift must be in 0..15, not 0..16"),
        ((MULTIPLY, 1, 8, 32, (), (0, 1)), "multiply must not have the shifts [0, 1]"),
        ((MULTIPLY_SHIFT, 2, 8, 32, (), (0, 1, 2, 2)), "must not have the shifts [0, 1, 2]"),
        ((SHIFT, 1, 8, 32, (), (), (0, 1)), "plane must be below 1, not 1"),
    ],
)
def test_a_wrong_spec_is_refused(arguments, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        PeSpec(*arguments)
