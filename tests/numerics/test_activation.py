from hashlib import sha256
from math import erfc, exp, sqrt, tanh

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.graph.ops import ACTIVATIONS
from hwq.numerics.activation import FUNCTIONS, ActivationSpec, coefficients

GOLDEN_SEGMENTS = [
    [-6508, 65522, 1],
    [-6307, 52480, 59020],
    [-2362, -6340, 175056],
    [0, -2, 3],
    [0, 0, 0],
]
# sums of c2, c1, c0 and of their squares
GOLDEN = {
    "gelu": ([-32772, 32631, 2091758], [208100112, 11972497581, 271660609294]),
    "gelu_tanh": ([-32767, 32636, 2088286], [207950271, 11986054662, 271976245254]),
    "quick_gelu": ([-32770, 32677, 2376050], [202231122, 10953495945, 282166886846]),
    "silu": ([-65536, 65205, 3438866], [950321080, 38722699207, 695608035114]),
    "sigmoid": ([32792, -557061, 3174802], [71473812, 25110956965, 992664523878]),
    "relu": ([0, 0, 0], [0, 0, 0]),
}
EXACT = {
    "gelu": lambda x: x * erfc(-x / sqrt(2)) / 2,
    "gelu_tanh": lambda x: x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x / (1 + exp(-1.702 * x)),
    "silu": lambda x: x / (1 + exp(-x)),
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "relu": lambda x: max(x, 0.0),
}
# largest error against float64, in units of the last of 12 fraction bits
BUDGET = {
    "gelu": 0.54,
    "gelu_tanh": 0.54,
    "quick_gelu": 0.54,
    "silu": 0.6,
    "sigmoid": 0.54,
    "relu": 0.0,
}
# of every int16 at 8 and 12 fraction bits: what the unit called gelu gave
GELU_SHA256 = {8: "407216bdd8c4d8ef", 12: "32a1e58600357f1c"}


def all_inputs(spec, step=1):
    return np.arange(spec.minimum, spec.maximum + 1, step)


def exact(function, x):
    return np.array([EXACT[function](v) for v in x.tolist()])


def test_every_function_has_a_curve_and_an_operation():
    assert tuple(FUNCTIONS) == ACTIVATIONS and EXACT.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("in_frac", range(8, 13))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_16_bit_input(function, in_frac):
    """The kernel equals the reference, and float64 within the budget."""
    spec = ActivationSpec(function, in_frac)
    x = all_inputs(spec).astype(np.int16)
    y = spec.compute(x)
    assert_array_equal(y, spec.reference(x))
    error = np.abs(y / 4096 - exact(function, x / 2.0**in_frac)).max()
    assert error <= BUDGET[function] * 2.0**-12


@pytest.mark.parametrize("in_frac", [8, 12])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_kernel_equals_reference_at_20_bits(function, in_frac):
    spec = ActivationSpec(function, in_frac, in_bits=20)
    x = np.concatenate([all_inputs(spec, step=101), [spec.maximum], np.arange(-30000, 30000, 7)])
    assert_array_equal(spec.compute(x), spec.reference(x))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_error_against_float64_on_every_20_bit_input_of_12_fraction_bits(function):
    spec = ActivationSpec(function, 12, in_bits=20)
    x = all_inputs(spec)
    x = x[np.abs(x) < 1 << 17]  # beyond 32 the exact value is the asymptote to 40 bits
    error = np.abs(spec.compute(x) / 4096 - exact(function, x / 4096)).max()
    assert error <= BUDGET[function] * 2.0**-12


@pytest.mark.parametrize("in_frac", GELU_SHA256)
def test_gelu_is_what_it_was(in_frac):
    y = ActivationSpec("gelu", in_frac).compute(np.arange(-(1 << 15), 1 << 15))
    assert sha256(y.astype("<i4").tobytes()).hexdigest()[:16] == GELU_SHA256[in_frac]


@pytest.mark.parametrize("function", [f for f, c in FUNCTIONS.items() if not c.step])
def test_tails_are_exact_and_do_not_saturate(function):
    spec = ActivationSpec(function, 8, in_bits=20)
    far = FUNCTIONS[function].farthest >> 4
    x = np.array([spec.maximum, far, -far, spec.minimum, 0])
    assert_array_equal(spec.compute(x), [spec.maximum << 4, far << 4, 0, 0, 0])


def test_sigmoid_ends_at_0_and_1():
    spec = ActivationSpec("sigmoid", 8, in_bits=20)
    x = np.array([spec.minimum, -(11 << 8), 0, 11 << 8, spec.maximum])
    assert_array_equal(spec.compute(x), [0, 0, 2048, 4096, 4096])


@pytest.mark.parametrize("function", [f for f, c in FUNCTIONS.items() if not c.step])
def test_difference_of_both_signs_is_x(function):
    x = np.arange(1, 1 << 15)
    spec = ActivationSpec(function)
    assert_array_equal(spec.compute(x) - spec.compute(-x), x)


@pytest.mark.parametrize("function", GOLDEN)
def test_table_is_the_one_that_the_gateware_copies(function):
    table = coefficients(function).astype(np.int64)
    assert (table.sum(axis=1).tolist(), (table**2).sum(axis=1).tolist()) == GOLDEN[function]


def test_some_segments_of_gelu():
    assert_array_equal(coefficients("gelu")[:, [0, 1, 7, 39, 40]].T, GOLDEN_SEGMENTS)


def test_keeps_the_shape():
    assert ActivationSpec().compute(np.zeros((2, 0, 3), np.int16)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"function": "tanh"},
            "function must be one of gelu, gelu_tanh, quick_gelu, silu, sigmoid, relu, not 'tanh'",
        ),
        ({"in_frac": 7}, "in_frac must be in 8..12, not 7"),
        ({"in_frac": 13}, "in_frac must be in 8..12, not 13"),
        ({"in_bits": 1}, "in_bits must be in 2..20, not 1"),
        ({"in_bits": 21}, "in_bits must be in 2..20, not 21"),
    ],
)
def test_rejects_bad_fields(fields, message):
    with pytest.raises(SpecError, match=f"^{message}$"):
        ActivationSpec(**fields)


@pytest.mark.parametrize("evaluate", [ActivationSpec.compute, ActivationSpec.reference])
def test_rejects_inputs_wider_than_the_unit(evaluate):
    with pytest.raises(SpecError, match=r"^x must be in -32768..32767, not 0..32768$"):
        evaluate(ActivationSpec(), np.array([0, 32768]))
    with pytest.raises(SpecError, match=r"^x must be in -512..511, not -600..0$"):
        evaluate(ActivationSpec(in_bits=10), np.array([0, -600], np.int16))
