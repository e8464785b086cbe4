import numpy as np
import torch

from hwq.numerics.fixed_point import FixedPoint
from hwq.quantizers.dynamic import Dynamic
from hwq.quantizers.uniform import Uniform
from hwq.runtime.integers import decibel, to_real


def test_integers_stand_for_reals():
    codes = np.array([0, 3, 15], np.uint8)
    quantizer = Uniform(torch.tensor(0.5), torch.tensor(3), 4)
    np.testing.assert_array_equal(to_real(codes, quantizer), [-1.5, 0.0, 6.0])
    np.testing.assert_array_equal(to_real(codes, Dynamic(quantizer, 0)), [-1.5, 0.0, 6.0])
    np.testing.assert_array_equal(to_real(codes, FixedPoint(8, 2)), [0, 0.75, 3.75])


def test_decibels():
    assert decibel(100.0, 1.0) == 20.0
    assert decibel(1.0, 0.0) == decibel(0.0, 0.0) == float("inf")
    assert decibel(0.0, 1.0) < -100
