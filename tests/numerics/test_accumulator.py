import numpy as np
import pytest

from hwq.errors import SpecError
from hwq.numerics.accumulator import (
    accumulator_bound,
    check_accumulator,
    check_constant_operand,
    longest_shift,
)
from hwq.numerics.gemm import gemm, pack


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


def test_a_constant_operand_is_bounded_by_its_own_columns():
    b = np.full((4, 3), 64, np.int8)
    b[:, 1] = -128
    check_constant_operand(b, (2**31 - 1) // 512)
    with pytest.raises(SpecError, match=r"2147483648 \(\|a\| <= 4194304, .* <= 512\)"):
        check_constant_operand(b, 2**31 // 512)
