from fractions import Fraction
from math import floor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.fixed_point import dyadic
from hwq.numerics.uniform import UniformSpec

SPECS = [
    UniformSpec(*dyadic(2.0**-8 / 0.05), zero_point=97, bits=8),
    UniformSpec(*dyadic(2.0**-13 / 0.3), bits=4, signed=True),
    UniformSpec(*dyadic(2.0**-12 / 0.11), zero_point=3, bits=3),
    UniformSpec(*dyadic(2.0**-10 / 2.0**-7), zero_point=-4, bits=6, signed=True),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_and_reference_equal_the_formula_on_every_16_bit_input(spec: UniformSpec) -> None:
    x = np.arange(-(1 << 15), 1 << 15, dtype=np.int32)
    lo, hi = (
        (-(1 << spec.bits) // 2, (1 << spec.bits) // 2 - 1)
        if spec.signed
        else (
            0,
            (1 << spec.bits) - 1,
        )
    )
    scale = Fraction(spec.mult, 1 << spec.shift)
    wide = np.array([floor(n * scale + Fraction(1, 2)) + spec.zero_point for n in x.tolist()])
    for method in (spec.compute, spec.reference):
        codes, saturated = method(x)
        assert_array_equal(codes, np.clip(wide, lo, hi))
        assert saturated == np.count_nonzero((wide < lo) | (wide > hi))
    assert 0 < saturated < x.size


@pytest.mark.parametrize("step", [0.3, 0.05, 1 / 3, 0.0123])
def test_a_16_bit_multiplier_is_within_a_256th_of_a_code(step: float) -> None:
    frac = 13
    spec = UniformSpec(*dyadic(2.0**-frac / step), zero_point=128, bits=8)
    x = np.arange(-(1 << 15), 1 << 15)
    exact = x * 2.0**-frac / step
    inside = np.abs(exact) < 120
    error = np.abs(spec.compute(x)[0].astype(np.int64) - 128 - exact)[inside]
    assert error.max() <= 0.5 + 2.0**-9


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bits", 1, "bits must be in 2..16, not 1"),
        ("bits", 17, "bits must be in 2..16, not 17"),
        ("mult", -1, "mult must be in 0..65535, not -1"),
        ("shift", 63, "shift must be in 1..62, not 63"),
    ],
)
def test_errors_name_the_field(field: str, value: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        UniformSpec(**{"mult": 1, "shift": 1, field: value})
