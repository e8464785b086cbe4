from collections.abc import Callable

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
