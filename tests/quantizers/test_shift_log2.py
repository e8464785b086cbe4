from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwq.errors import SpecError
from hwq.quantizers.shift_log2 import ShiftLog2


def test_levels_of_a_gelu_range() -> None:
    q = ShiftLog2.from_range(-0.17, 6.0, 4)
    levels = q.decode(torch.arange(16))
    expected = [6.17 * 2 ** (-r / 2) - 0.17 for r in range(15)] + [-0.17]
    assert torch.allclose(levels, torch.tensor(expected), atol=1e-3)


def test_the_distance_covers_the_minimum() -> None:
    q = ShiftLog2.from_range(-0.17, 6.0, 4)
    assert 0.17 <= q.distance * float(q.scale) < 0.17 + float(q.mac_form().lsb)
    assert q.encode(torch.tensor([-0.171, -0.17, 6.0])).tolist() == [15, 15, 0]


@pytest.mark.parametrize("frac", [10, 12, 13])
@pytest.mark.parametrize(("lo", "hi"), [(-0.17, 6.1), (-0.17, 2.33), (-0.2785, 11.7), (-0.17, 0.9)])
def test_on_a_grid_integers_encode_as_floats_do(lo: float, hi: float, frac: int) -> None:
    """Every 16-bit input at 8 bits; elsewhere some ties remain, and the range moves by an lsb."""
    x = np.arange(-(1 << 15), 1 << 15)
    plain = ShiftLog2.from_range(lo, hi, 8)
    quantizer = plain.on_grid(10)
    codes, _ = quantizer.encoder(frac).compute(x)
    np.testing.assert_array_equal(quantizer.encode(torch.from_numpy(x) * 2.0**-frac).numpy(), codes)
    assert float(quantizer.scale) == pytest.approx(float(plain.scale), rel=2.0**-15)
    distance = quantizer.distance * float(quantizer.scale)
    assert -lo - 1e-5 <= distance <= -lo + 2.0**-9
    coarse = ShiftLog2.from_range(lo, hi, 4)
    assert coarse.on_grid(10).zero_point == coarse.zero_point


def test_the_gradient_to_scale_is_finite_and_inside_follows_the_rounding() -> None:
    scale = torch.tensor(8.0, requires_grad=True)
    q = ShiftLog2(scale, 256, 4)  # lsb 2**-14 of the scale, distance 0.125
    (grad,) = torch.autograd.grad(q.fake_quantize(torch.tensor(4.0)), scale)
    value = float(q.fake_quantize(torch.tensor(4.0)).detach())
    assert float(grad) == pytest.approx((value - 4.0) / 8, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ShiftLog2.from_range(0.1, 1.0, 4), "lo <= 0 < hi is needed, not 0.1..1.0"),
        (lambda: ShiftLog2(torch.ones(2), 0, 4), r"one scale is needed, not \[2\]"),
        (lambda: ShiftLog2(torch.ones(()), -1, 4), "zero_point must be in 0..2\\*\\*22, not -1"),
        (lambda: ShiftLog2(torch.ones(()), 0, 9), "bits must be in 2..8, not 9"),
        (lambda: ShiftLog2(torch.ones(()), 0, 4, 3), "steps_per_octave must be 1 or 2, not 3"),
    ],
)
def test_errors_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()
