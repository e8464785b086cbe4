import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.array import DATAFLOWS, ArraySpec, array_reference
from hwq.numerics.gemm import gemm, pack
from hwq.numerics.pe import MULTIPLY, SHIFT_PARITY, PeSpec

PARITY = PeSpec(SHIFT_PARITY, 2, 4, 8, (), (1, 1, 0, 0), (0, 1, 0, 1))


def operands(spec, m, k, n):
    rng = np.random.default_rng(0)
    half = 1 << (spec.b_bits - 1)
    return rng.integers(0, 1 << spec.a_bits, (m, k)), rng.integers(-half, half, (k, n))


@pytest.mark.parametrize("pe", [PeSpec(MULTIPLY, 4, 4, 8), PARITY], ids=lambda pe: pe.kind.name)
def test_compute_equals_the_reference_and_wraps(pe):
    spec = ArraySpec(2, 2, pe=pe)
    a, b = operands(pe, 3, 9, 4)
    assert_array_equal(spec.compute(a, b), array_reference(a, b, spec))


def test_tiles_of_k_add_up():
    spec = ArraySpec(2, 2, pe=PARITY)
    a, b = operands(PARITY, 3, 9, 4)
    first = spec.compute(a[:, :5], b[:5])
    assert_array_equal(spec.compute(a[:, 5:], b[5:], first), spec.compute(a, b))


def test_compute_equals_gemm():
    spec = ArraySpec(8, 8, pe=PeSpec())
    a, b = operands(spec.pe, 20, 70, 30)
    assert_array_equal(spec.compute(a, b)[0], gemm(a.astype(np.uint8), pack(b.astype(np.int8))))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_words_hold_every_element_where_the_program_says(dataflow):
    spec = ArraySpec(2, 3, dataflow)
    m, k, n = 5, 7, 4
    a, b = np.arange(m * k).reshape(m, k), np.arange(k * n).reshape(k, n)
    out = np.arange(m * n).reshape(1, m, n)
    rows, columns = spec.rows, spec.columns
    program = spec.program(m, k, n)
    left, top, result = (program[f"{name}_stride"] for name in ("left", "top", "result"))
    words_a, words_b, words_out = spec.a_words(a), spec.b_words(b), spec.result_words(out)
    for i in range(m):
        for j in range(n):
            for x in range(k):
                if dataflow == "output_stationary":
                    in_a, in_b = words_a[i // rows * left + x], words_b[j // columns * top + x]
                    assert (in_a[i % rows], in_b[j % columns]) == (a[i, x], b[x, j])
                elif dataflow == "weight_stationary":
                    in_a, in_b = words_a[x // rows * left + i], words_b[j // columns * top + x]
                    assert (in_a[x % rows], in_b[j % columns]) == (a[i, x], b[x, j])
                else:
                    in_a, in_b = words_a[i // columns * top + x], words_b[x // rows * left + j]
                    assert (in_a[i % columns], in_b[x % rows]) == (a[i, x], b[x, j])
            if dataflow == "input_stationary":
                assert words_out[i // columns * result + j, i % columns, 0] == out[0, i, j]
            else:
                assert words_out[j // columns * result + i, j % columns, 0] == out[0, i, j]


def test_a_program_of_a_tile():
    spec = ArraySpec(4, 4, "weight_stationary", a_depth=64, b_depth=32, result_depth=64)
    program = spec.program(5, 8, 4, bases=(2, 8, 16), strides=(20, 16, 24), accumulate=True)
    assert program == {
        "rows": 8,
        "columns": 4,
        "stream": 5,
        "left_base": 2,
        "left_stride": 20,
        "top_base": 8,
        "top_stride": 16,
        "result_base": 16,
        "result_stride": 24,
        "accumulate": 1,
        "complete": 1,
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ArraySpec(0, 4), "rows must be in 1..256, not 0"),
        (
            lambda: ArraySpec(17, 1, extent_bits=4),
            "extent_bits must be at least 5 for 17 rows, not 4",
        ),
        (lambda: ArraySpec(4, 4, "auto"), "dataflow must be one of output_stationary, "),
        (lambda: ArraySpec(4, 4).program(1, 0, 1), "k must be in 1..65535, not 0"),
        (
            lambda: ArraySpec(4, 4).program(600, 8, 1),
            "a_depth must be at least 1200 words, not 1024",
        ),
        (
            lambda: ArraySpec(4, 4, "input_stationary").program(1, 8, 600),
            "b_depth must be at least 1200 words, not 1024",
        ),
        (
            lambda: ArraySpec(4, 4).program(1, 1, 1, bases=(0, 0, 1024)),
            "result_depth must be at least 1025 words, not 1024",
        ),
        (
            lambda: ArraySpec(4, 4).program(1, 1, 1, bases=(-3, 0, 0)),
            "base of a must not be negative, not -3",
        ),
        (
            lambda: ArraySpec(4, 4).program(1, 1, 1, strides=(1, -1, 1)),
            "stride of b must not be negative, not -1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        make()
