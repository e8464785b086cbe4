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
from hwq.numerics._product import copy_operand, multiply_rows
from hwq.numerics.accumulator import (
    accumulator_bound,
    check_accumulator,
)
from hwq.numerics.gemm import RUNGS, available_rungs, best_rung, gemm, gemm_reference, pack

CANARY = 123_456_789
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


NAMES = [rung.name for rung in RUNGS]


@pytest.fixture(params=NAMES)
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
    assert pack(np.ones((1, 1), np.int8)).rung.name == best_rung()


def test_every_supported_rung_passes_its_self_test():
    supported = [rung for rung in RUNGS if module._is_supported(rung)]
    assert [rung for rung in supported if not module._passes_self_test(rung)] == []


def test_a_rung_that_fails_its_self_test_is_not_taken(monkeypatch):
    monkeypatch.setattr(module, "_is_supported", lambda rung: True)
    monkeypatch.setattr(module, "_passes_self_test", lambda rung: rung.name == "plain")
    for choose, expected in ((best_rung, "plain"), (available_rungs, ("plain",))):
        with pytest.warns(RuntimeWarning) as warned:
            assert choose.__wrapped__() == expected
        messages = [str(warning.message) for warning in warned]
        assert [message.split(" multiplies wrongly")[0] for message in messages] == NAMES[:-1]
    monkeypatch.setattr(module, "_passes_self_test", lambda rung: False)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(HwqError, match=r"^no integer matmul gives exact results here"),
    ):
        best_rung.__wrapped__()


def test_self_test_sees_a_wrong_sum(monkeypatch):
    monkeypatch.setattr(
        module, "gemm", lambda a, *operands: gemm(a, *operands) + (a.dtype == np.int16)
    )
    assert not module._passes_self_test.__wrapped__(RUNGS[-1])


AVX512 = "+avx2,+fma,+avx512f,+avx512bw"


@pytest.mark.parametrize(
    ("features", "rungs"),
    [
        ("", ["plain"]),
        ("+avx2,+fma", ["avx2", "plain"]),
        ("+avx2,+fma,+avxvnni", ["avx_vnni", "avx2", "plain"]),
        (AVX512 + ",-avx512vnni", ["avx512", "avx2", "plain"]),
        (AVX512 + ",+avx512vnni", ["vnni", "avx512", "avx2", "plain"]),
    ],
)
def test_rungs_follow_the_features_of_the_compiler(features, rungs):
    """In a process of its own; what this processor has too is also tried there."""
    code = (
        "from hwq.numerics import gemm as g\n"
        "print([rung.name for rung in g.RUNGS if g._is_supported(rung)])"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features}

    def run(code):
        command = [sys.executable, "-W", "error", "-c", code]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run(code) == str(rungs)
    if set(rungs) <= set(available_rungs()):
        code = "from hwq.numerics.gemm import available_rungs\nprint(list(available_rungs()))"
        assert run(code) == str(rungs)


@pytest.mark.parametrize("n", [96, 97, 100, 104, 1000])
@pytest.mark.parametrize("k", [1, 16, 27, 32, 33])
def test_ragged_shapes_fill_the_result_and_nothing_else(rung, k, n):
    """Bytes and words, any number of rows; what lies behind the result keeps its canary."""
    rng = np.random.default_rng([k, n])
    for bits in (4, 8):
        b = rng.integers(-1 << bits - 1, (1 << bits - 1) - 1, (k, n), np.int8, endpoint=True)
        packed = pack(b, rung)
        for m in range(1, 18):
            a = rng.integers(0, (1 << bits) - 1, (m, k), np.uint8, endpoint=True)
            codes = (0, (1 << bits) - 1)
            expected = gemm_reference(a, b)
            assert_array_equal(gemm(a, packed, codes), expected)
            block, right = packed.block(*codes), packed.right(*codes)
            copy_operand(a, 0, block)
            acc = np.full((m + 1, right[1].size + 1), CANARY, np.int32)
            multiply_rows(packed.rung.tag, block, m, right, acc)
            assert_array_equal(acc[:m, :n], expected)
            assert (acc[m] == CANARY).all() and (acc[:, -1] == CANARY).all()


@pytest.mark.parametrize(("a_bits", "b_bits"), [(8, 8), (8, 4), (7, 8), (6, 6), (4, 4), (2, 2)])
@pytest.mark.parametrize("k", [1024, 8192])
def test_adversarial_operands_of_few_bits(rung, k, a_bits, b_bits):
    """Neighbours of one sign drive 16-bit sums to their ends; then they turn."""
    top, least = (1 << a_bits) - 1, -1 << b_bits - 1
    a = np.zeros((13, k), np.uint8)
    a[:6], a[6:9, ::2], a[9:, : k // 2] = top, top, top
    b = np.full((k, 40), least, np.int8)
    b[:, 1::4] = -least - 1
    b[k // 2 :, 2::4] = -least - 1
    b[1::2, 3::4] = -least - 1
    assert_array_equal(gemm(a, pack(b, rung), (0, top)), gemm_reference(a, b))


@pytest.mark.parametrize(("low", "high"), [(0, 15), (-32, 31), (-128, 127), (3, 9), (-300, 300)])
def test_codes_of_a_known_range(rung, low, high):
    rng = np.random.default_rng(0)
    dtype = np.int16 if high > 255 else np.int8
    a = rng.integers(low, high, (30, 100), dtype, endpoint=True)
    b = rng.integers(-8, 7, (100, 40), np.int8, endpoint=True)
    assert_array_equal(gemm(a, pack(b, rung), (low, high)), gemm_reference(a, b))


def test_rejects_codes_out_of_their_range():
    with pytest.raises(SpecError, match=r"^a must be in 0\.\.15, not 0\.\.16$"):
        gemm(np.array([[0, 16]], np.uint8), pack(np.ones((2, 1), np.int8)), (0, 15))


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
    with pytest.raises(
        SpecError, match=r"^rung must be one of vnni, avx_vnni, avx512, avx2, plain, not amx$"
    ):
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
