import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.unit import UnitTiming
from hwq.rtl.divide import Divide
from hwq.testing import run_stream


@pytest.mark.parametrize("widths", [(41, 24, 18), (36, 18, 19), (9, 4, 9), (5, 3, 2)], ids=str)
def test_quotients_are_floored_at_every_width(widths: tuple[int, int, int], check) -> None:
    dividend_bits, divisor_bits, quotient_bits = widths
    rng = np.random.default_rng(0)
    divisor = rng.integers(1, 1 << divisor_bits, 400) >> rng.integers(0, divisor_bits, 400)
    divisor = np.maximum(divisor, 1)
    most = np.minimum((divisor << quotient_bits) - 1, (1 << dividend_bits) - 1)
    dividend = rng.integers(0, most, endpoint=True)
    whole = np.minimum(dividend // divisor * divisor, most)  # no remainder
    dividend = np.concatenate([dividend[:200], whole[200:300], most[300:]])
    unit = Divide(*widths)
    check(unit, np.stack([dividend, divisor], axis=1), UnitTiming(quotient_bits, 1))


def test_every_pair_of_five_and_three_bits() -> None:
    unit = Divide(5, 3, 5)
    pairs = np.stack(np.meshgrid(np.arange(32), np.arange(1, 8)), axis=-1).reshape(-1, 2)
    assert_array_equal(run_stream(unit, pairs).outputs, pairs[:, 0] // pairs[:, 1])


def test_rejects_a_quotient_wider_than_the_dividend() -> None:
    with pytest.raises(SpecError, match="dividend_bits must be at least 9, not 8"):
        Divide(8, 4, 9)
