import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.log2 import Log2Spec

SPECS = [
    Log2Spec(),
    Log2Spec(bits=3),
    Log2Spec(bits=8),
    Log2Spec(bits=3, steps_per_octave=2),
    Log2Spec(bits=4, steps_per_octave=2),
    Log2Spec(bits=8, steps_per_octave=2),
    Log2Spec(bits=4, steps_per_octave=2, offset=7),
    Log2Spec(bits=6, offset=3, max_exponent=9),
    Log2Spec(in_bits=9, bits=4, steps_per_octave=2),
    Log2Spec(in_bits=2, bits=2),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_equals_reference_on_every_input(spec: Log2Spec) -> None:
    x = np.arange(1 << spec.in_bits)
    assert_array_equal(spec.compute(x), spec.reference(x))


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_codes_are_nearest_in_the_log_domain(spec: Log2Spec) -> None:
    x = np.arange(1, 1 << spec.in_bits)
    exact = -spec.steps_per_octave * np.log2(x / 2**spec.in_bits)
    code = spec.compute(x).astype(np.int64)
    inner = (code > 0) & (code < spec.zero_code)
    error = np.abs(code + spec.offset - exact)[inner]
    assert error.max(initial=0.0) < 0.5
    assert np.all(np.diff(code) <= 0)


def test_special_cases() -> None:
    spec = Log2Spec(bits=4)
    assert spec.compute(np.array([0, 65535, 32768, 46340, 46341, 4, 3, 2, 1])).tolist() == (
        [15, 0, 1, 1, 0, 14, 14, 15, 15]
    )
    wide = Log2Spec(bits=8)
    assert wide.compute(np.array([2, 1])).tolist() == [15, 255]
    half = Log2Spec(bits=8, steps_per_octave=2)
    assert half.compute(np.array([65535, 55108, 55109, 2, 1])).tolist() == [0, 1, 0, 30, 255]


def test_offset_and_exponent_limit() -> None:
    x = np.array([65535, 1 << 13, 1 << 7, 1 << 6])
    assert Log2Spec(bits=6, offset=3, max_exponent=9).compute(x).tolist() == [0, 0, 6, 63]


def test_shape_and_dtype_are_kept() -> None:
    x = np.arange(12, dtype=np.uint16).reshape(3, 4)
    code = Log2Spec().compute(x)
    assert code.shape == (3, 4)
    assert code.dtype == np.uint8
    assert Log2Spec().compute(x[:, ::2]).tolist() == code[:, ::2].tolist()
    assert Log2Spec().compute(np.zeros((0, 3), np.int32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("in_bits", 17, "in_bits must be in 2..16, not 17"),
        ("bits", 1, "bits must be in 2..8, not 1"),
        ("steps_per_octave", 3, "steps_per_octave must be 1 or 2, not 3"),
        ("max_exponent", 16, "max_exponent must be in 0..15, not 16"),
        ("offset", -1, "offset must be in 0..15, not -1"),
    ],
)
def test_errors_name_the_field(field: str, value: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Log2Spec(**{field: value})
