import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hwq.errors import HwqError, SpecError
from hwq.numerics import gemm as module
from hwq.numerics.gemm import (
    RUNGS,
    accumulator_bound,
    available_rungs,
    best_rung,
    check_accumulator,
    check_constant_operand,
    gemm,
    gemm_reference,
    longest_shift,
    pack,
)

DTYPES = [np.uint8, np.int8, np.int16]
SHAPES = [
    (1, 1, 1),
    (1, 4, 32),
    (11, 5, 31),
    (12, 7, 33),
    (13, 64, 64),
    (49, 197, 64),
    (61, 3, 65),
    (97, 66, 100),
]


@pytest.fixture(params=RUNGS)
def rung(request):
    if request.param not in available_rungs():
        pytest.skip(f"this CPU has no {request.param}")
    return request.param


def random_codes(rng, dtype, shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_codes_give_the_sums_of_int64(rung, shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(m)
    a, b = random_codes(rng, dtype, (m, k)), random_codes(rng, np.int8, (k, n))
    out = gemm(a, pack(b, rung))
    assert out.dtype == np.int32
    assert_array_equal(out, gemm_reference(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("a_value", [-(1 << 15), -128, -1, 0, 127, 255, 32767])
@pytest.mark.parametrize("b_value", [-128, 127])
def test_extreme_codes_do_not_saturate(rung, b_value, a_value, dtype):
    info = np.iinfo(dtype)
    a = np.full((14, 510), min(max(a_value, info.min), info.max), dtype)
    b = np.full((510, 33), b_value, np.int8)
    assert accumulator_bound(510, 1 << 15, 128) < 1 << 31
    assert_array_equal(gemm(a, pack(b, rung)), gemm_reference(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_deep_sums_up_to_the_bound(rung, dtype):
    largest = max(-int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    k = ((1 << 31) - 1) // (largest * 128)
    check_accumulator(k, largest, 128)
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        a, b = np.full((2, k), value, dtype), np.full((k, 2), -128, np.int8)
        b[:, 1] = 127
        assert_array_equal(gemm(a, pack(b, rung)), gemm_reference(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_partial_sums_may_pass_the_limit(rung, dtype):
    top = np.iinfo(dtype).max
    half = (1 << 31) // (top * 127) + 9
    a, b = np.full((2, 2 * half), top, dtype), np.full((2 * half, 2), 127, np.int8)
    b[half:] = -127
    b[0, 1] = -3
    assert_array_equal(gemm(a, pack(b, rung)), gemm_reference(a, b))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 70), st.sampled_from(DTYPES))
def test_all_rungs_are_equal_at_any_shape(m, k, n, dtype):
    rng = np.random.default_rng([m, k, n])
    a, b = random_codes(rng, dtype, (m, k)), random_codes(rng, np.int8, (k, n))
    expected = gemm_reference(a, b)
    for rung in available_rungs():
        assert_array_equal(gemm(a, pack(b, rung)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_memory_layout_will_do(rung, dtype):
    rng = np.random.default_rng(0)
    a, b = random_codes(rng, dtype, (30, 40)), random_codes(rng, np.int8, (40, 80))
    expected = gemm_reference(a, b)
    for view in (a, np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2], a.repeat(2, 0)[::2]):
        assert_array_equal(gemm(view, pack(b, rung)), expected)
    for view in (b, np.asfortranarray(b), np.repeat(b, 2, axis=1)[:, ::2], b.repeat(2, 0)[::2]):
        assert_array_equal(gemm(a, pack(view, rung)), expected)
    assert_array_equal(
        gemm(a[1:, :7], pack(b[3:10, 5:50], rung)), gemm_reference(a[1:, :7], b[3:10, 5:50])
    )


def test_empty_operands(rung):
    packed = pack(np.ones((3, 5), np.int8), rung)
    assert gemm(np.ones((0, 3), np.uint8), packed).shape == (0, 5)
    assert gemm(np.ones((4, 3), np.uint8), pack(np.ones((3, 0), np.int8), rung)).shape == (4, 0)


def test_operands_are_left_alone(rung):
    a, b = np.full((13, 6), -3, np.int8), np.full((6, 7), 5, np.int8)
    a.flags.writeable = b.flags.writeable = False
    packed = pack(b, rung)
    assert_array_equal(gemm(a, packed), np.full((13, 7), -90))
    assert_array_equal(gemm(a, packed), np.full((13, 7), -90))


@pytest.mark.parametrize("order", ["C", "F"])
def test_packing_copies(rung, order):
    b = np.ones((6, 7), np.int8, order=order)
    packed = pack(b, rung)
    b[:] = 9
    assert_array_equal(gemm(np.ones((1, 6), np.uint8), packed), np.full((1, 7), 6))


def test_best_rung_is_the_first_available():
    assert best_rung() == available_rungs()[0]
    assert available_rungs()[-1] == "plain"
    assert pack(np.ones((1, 1), np.int8)).rung == best_rung()


def test_every_supported_rung_passes_its_self_test():
    supported = [rung for rung in RUNGS if module._is_supported(rung)]
    assert [rung for rung in supported if not module._passes_self_test(rung)] == []


def test_a_rung_that_fails_its_self_test_is_not_taken(monkeypatch):
    monkeypatch.setattr(module, "_passes_self_test", lambda rung: rung == "plain")
    assert best_rung.__wrapped__() == "plain"
    assert available_rungs.__wrapped__() == ("plain",)
    monkeypatch.setattr(module, "_passes_self_test", lambda rung: False)
    with pytest.raises(HwqError, match=r"^no integer matmul gives exact results here"):
        best_rung.__wrapped__()


def test_self_test_sees_a_wrong_sum(monkeypatch):
    monkeypatch.setattr(module, "gemm", lambda a, packed: gemm(a, packed) + (a.dtype == np.int16))
    assert not module._passes_self_test.__wrapped__("plain")


@pytest.mark.parametrize("features", ["", "+avx2,+fma,+avx512f,+avx512bw,-avx512vnni"])
def test_rung_follows_the_features_of_the_compiler(features):
    code = "from hwq.numerics.gemm import _is_supported as s; print(s('vnni'), s('plain'))"
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("b_bits", range(2, 9))
@pytest.mark.parametrize("k", [1, 2, 197, 511, 512, 577, 1370, 3072, 4096, 1 << 20])
def test_longest_shift(k, b_bits):
    """The worst sum fits, and with a longer shift it would not."""
    shift = longest_shift(k, b_bits)
    worst = k << (shift + b_bits - 1)
    assert worst < 1 << 31 and (shift == 15 or 2 * worst >= 1 << 31)
    if k <= 4096:
        a = np.full((1, k), -(1 << shift), np.int16)
        b = np.full((k, 1), -1 << (b_bits - 1), np.int8)
        assert gemm(a, pack(b)).item() == worst


def test_the_longest_shift_of_too_many_products():
    with pytest.raises(SpecError, match=r"an accumulator must stay below 2\*\*31"):
        longest_shift(1 << 24, 8)


def test_accumulator_bound():
    assert accumulator_bound(1536, 255, 128) == 1536 * 255 * 128
    check_accumulator(511, 1 << 15, 128)
    with pytest.raises(
        SpecError,
        match=r"^an accumulator must stay below 2\*\*31, not reach 2147483648 "
        r"\(K = 512, \|a\| <= 32768, \|b\| <= 128\): take fewer bits$",
    ):
        check_accumulator(512, 1 << 15, 128)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (np.ones((2, 2), np.uint8), r"b must be int8, not uint8"),
        (np.ones(2, np.int8), r"b must be \[K >= 1, N\], not \(2,\)"),
        (np.ones((0, 2), np.int8), r"b must be \[K >= 1, N\], not \(0, 2\)"),
    ],
)
def test_rejects_bad_weights(b, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        pack(b)


def test_rejects_unknown_rungs():
    with pytest.raises(SpecError, match=r"^rung must be one of vnni, plain, not amx$"):
        pack(np.ones((1, 1), np.int8), "amx")


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (np.ones((2, 3), np.int32), r"a must be uint8, int8 or int16, not int32"),
        (np.ones((2, 2), np.int8), r"a must be \[M, 3\], not \(2, 2\)"),
        (np.ones(3, np.int8), r"a must be \[M, 3\], not \(3,\)"),
    ],
)
def test_rejects_bad_activations(a, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        gemm(a, pack(np.ones((3, 1), np.int8)))


def test_a_constant_operand_is_bounded_by_its_own_columns():
    b = np.full((4, 3), 64, np.int8)
    b[:, 1] = -128
    check_constant_operand(b, (2**31 - 1) // 512)
    with pytest.raises(SpecError, match=r"2147483648 \(\|a\| <= 4194304, .* <= 512\)"):
        check_constant_operand(b, 2**31 // 512)
