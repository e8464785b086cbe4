import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.shift_uniform_log2 import ShiftUniformLog2Spec

EVERY_FRACTION = np.arange(1 << 16)
TRIPLES = [
    (bits, j, offset)
    for j in range(1, 16)
    for offset in range(j)
    for bits in range(2, 9)
    if j - offset < 1 << bits
]
SPECS = [
    ShiftUniformLog2Spec(1),
    ShiftUniformLog2Spec(1, bits=2),
    ShiftUniformLog2Spec(3, bits=2),
    ShiftUniformLog2Spec(15, bits=2, offset=12),
    ShiftUniformLog2Spec(7, bits=3),
    ShiftUniformLog2Spec(9, bits=3, offset=2),
    ShiftUniformLog2Spec(6, bits=3, offset=1),
    ShiftUniformLog2Spec(10, bits=4),
    ShiftUniformLog2Spec(15, bits=4),
    ShiftUniformLog2Spec(15, bits=8, offset=14),
    ShiftUniformLog2Spec(12, bits=6, offset=3),
]
FRACS = [2, 8, 13, 15, 17, 20, 31]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_unit_equals_reference_on_every_probability(spec: ShiftUniformLog2Spec) -> None:
    codes, saturated = spec.compute(EVERY_FRACTION)
    expected, expected_saturated = spec.reference(EVERY_FRACTION)
    assert_array_equal(codes, expected)
    assert saturated == expected_saturated == 0
    assert codes.dtype == expected.dtype == np.uint8


@pytest.mark.parametrize("frac", FRACS)
def test_unit_equals_reference_on_every_16_bit_input(frac: int) -> None:
    spec = ShiftUniformLog2Spec(9, bits=4, frac=frac)
    x = np.arange(-(1 << 15), 1 << 15)
    expected, expected_saturated = spec.reference(x)
    for dtype in (np.int16, np.int32, np.int64):
        codes, saturated = spec.compute(x.astype(dtype))
        assert_array_equal(codes, expected)
        assert saturated == expected_saturated > 0


@pytest.mark.parametrize("frac", FRACS)
def test_unit_equals_reference_on_wide_inputs(frac: int) -> None:
    spec = ShiftUniformLog2Spec(12, bits=4, offset=1, frac=frac)
    x = np.random.default_rng(0).integers(-(1 << 31) + 1, 1 << 31, 2000)
    x = np.concatenate([x >> np.arange(x.size) % 32, [(1 << 31) - 1, 1 - (1 << 31)]])
    codes, saturated = spec.compute(x)
    expected, expected_saturated = spec.reference(x)
    assert_array_equal(codes, expected)
    assert saturated == expected_saturated


def test_every_spec_is_exact_on_every_probability() -> None:
    """The code counts the thresholds 2**(15.5 - r), offset <= r < eta_exponent, above the sum."""
    for bits, j, offset in TRIPLES:
        square = (EVERY_FRACTION + (1 << (16 - j))) ** 2
        expected = sum(square < 1 << (31 - 2 * r) for r in range(offset, j))
        codes, saturated = ShiftUniformLog2Spec(j, bits, offset).compute(EVERY_FRACTION)
        assert_array_equal(codes, expected)
        assert saturated == 0
        assert codes[0] == j - offset == codes.max()
        assert np.all(np.diff(codes.astype(np.int64)) <= 0)
    assert len(TRIPLES) == 726


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_codes_are_nearest_in_the_log_domain(spec: ShiftUniformLog2Spec) -> None:
    exact = -np.log2(EVERY_FRACTION / 2**16 + 2.0**-spec.eta_exponent)
    level = spec.compute(EVERY_FRACTION)[0].astype(np.int64) + spec.offset
    assert_array_equal(level, np.maximum(np.round(exact), spec.offset))


def test_special_cases() -> None:
    spec = ShiftUniformLog2Spec(7, bits=3)  # eta = 512: 0..212 round to zero, 2**9.5 = 724.08
    x = np.array([0, 212, 213, 937, 65535, 65024, 45828, 45829])
    assert spec.compute(x)[0].tolist() == [7, 7, 6, 5, 0, 0, 1, 0]


def test_a_sum_of_17_bits_saturates_without_changing_a_code() -> None:
    spec = ShiftUniformLog2Spec(1, bits=2)  # eta is one half: sums from 92682 on are nearer to 2
    codes, saturated = spec.compute(np.array([32767, 32768, 59914, 65535]))
    assert codes.tolist() == spec.reference(np.array([32767, 32768, 59914, 65535]))[0].tolist()
    assert codes.tolist() == [0, 0, 0, 0]
    assert saturated == 0


def test_the_log2_unit_gets_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = []
    monkeypatch.setattr(Log2Spec, "compute", lambda _, x: largest.append(int(x.max())))
    for j in (1, 8, 15):
        ShiftUniformLog2Spec(j).compute(EVERY_FRACTION)
    assert largest == [65535] * 3


def test_what_lies_outside_of_0_to_1_is_clamped_and_counted() -> None:
    spec = ShiftUniformLog2Spec(5, bits=3, frac=8)
    codes, saturated = spec.compute(np.array([-300, -1, 0, 255, 256, 3000]))
    assert codes.tolist() == [5, 5, 5, 0, 0, 0]
    assert saturated == 4


def test_without_eta_the_codes_are_those_of_log2() -> None:
    """Far above the smallest eta it no longer matters."""
    x = EVERY_FRACTION[1 << 10 :]
    differs = ShiftUniformLog2Spec(15).compute(x)[0] != Log2Spec().compute(x)
    assert 0 < np.count_nonzero(differs) <= 16


def test_shape_is_kept() -> None:
    x = np.arange(12, dtype=np.uint16).reshape(3, 4)
    codes, _ = SPECS[7].compute(x)
    assert codes.shape == SPECS[7].reference(x)[0].shape == (3, 4)
    assert SPECS[7].compute(x[:, ::2])[0].tolist() == codes[:, ::2].tolist()
    assert SPECS[7].compute(np.zeros((0, 3), np.int32))[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bits": 1}, "bits must be in 2..8, not 1"),
        ({"bits": 9}, "bits must be in 2..8, not 9"),
        ({"eta_exponent": 0}, "eta_exponent must be in 1..15, not 0"),
        ({"eta_exponent": 16}, "eta_exponent must be in 1..15, not 16"),
        ({"offset": -1}, "offset must be in 0..8 for eta_exponent 9 at 4 bits, not -1"),
        ({"offset": 9}, "offset must be in 0..8 for eta_exponent 9 at 4 bits, not 9"),
        ({"bits": 3, "offset": 1}, "offset must be in 2..8 for eta_exponent 9 at 3 bits, not 1"),
        ({"frac": 1}, "frac must be in 2..31, not 1"),
        ({"frac": 32}, "frac must be in 2..31, not 32"),
    ],
)
def test_errors_name_the_field(changed: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ShiftUniformLog2Spec(**({"eta_exponent": 9} | changed))
