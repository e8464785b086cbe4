from math import isqrt

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.isqrt import IsqrtSpec, _bit_length


@pytest.mark.parametrize("in_bits", [1, 2, 15, 16])
def test_kernel_equals_reference_on_every_input(in_bits):
    x = np.arange(1 << in_bits)
    spec = IsqrtSpec(in_bits)
    assert_array_equal(spec.compute(x), spec.reference(x))


@pytest.mark.parametrize("in_bits", [17, 32, 36, 61, 62])
def test_squares_and_their_neighbours(in_bits):
    top = isqrt((1 << in_bits) - 1)
    roots = np.random.default_rng(in_bits).integers(1, top, 500, endpoint=True).tolist()
    x = [(1 << in_bits) - 1, 0]
    for root in [*roots, top]:
        x += [root * root - 1, root * root, min(root * root + 2 * root, x[0])]
    spec = IsqrtSpec(in_bits)
    expected = [isqrt(value) for value in x]
    assert_array_equal(spec.compute(np.array(x)), expected)
    assert_array_equal(spec.reference(np.array(x)), expected)


def test_root_fits_its_width():
    assert [IsqrtSpec(bits).root_bits for bits in (1, 2, 3, 36, 62)] == [1, 1, 2, 18, 31]
    assert IsqrtSpec(62).compute(np.array([(1 << 62) - 1])) == (1 << 31) - 1


def test_bit_length_at_every_power_of_two():
    for bits in range(63):
        assert _bit_length(1 << bits) == bits + 1
        assert _bit_length((1 << bits) - 1) == bits


def test_keeps_the_shape():
    assert IsqrtSpec().compute(np.zeros((2, 0), np.int32)).shape == (2, 0)


@pytest.mark.parametrize("in_bits", [0, 63])
def test_rejects_bad_widths(in_bits):
    with pytest.raises(SpecError, match=rf"^in_bits must be in 1\.\.62, not {in_bits}$"):
        IsqrtSpec(in_bits)


@pytest.mark.parametrize("evaluate", [IsqrtSpec.compute, IsqrtSpec.reference])
@pytest.mark.parametrize("value", [-1, 16])
def test_rejects_inputs_out_of_range(evaluate, value):
    with pytest.raises(SpecError, match=r"^x must be in 0\.\.15, not "):
        evaluate(IsqrtSpec(4), np.array([value]))
