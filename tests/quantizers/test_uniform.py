from collections.abc import Callable

import pytest
import torch

from hwq.errors import SpecError
from hwq.quantizers.uniform import Uniform

ZERO = torch.tensor(0)


def test_ties_round_up_and_codes_saturate() -> None:
    q = Uniform(torch.tensor(0.5), torch.tensor(3), 4, signed=False)
    x = torch.tensor([-9.0, -1.5, -0.25, 0.0, 0.25, 0.75, 6.0, 6.25])
    assert q.encode(x).tolist() == [0, 0, 3, 3, 4, 5, 15, 15]
    s = Uniform(torch.tensor(0.5), ZERO, 3, signed=True)
    assert s.encode(torch.tensor([-9.0, -2.25, -0.25, 0.25, 9.0])).tolist() == [-4, -4, 0, 1, 3]


def test_a_zero_point_keeps_to_the_codes_of_bits() -> None:
    q = Uniform.from_range(-0.731, 1.37, 4)
    codes = q.encode(torch.linspace(-3, 3, 10001))
    assert codes.unique().tolist() == list(range(16))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("lo", "hi"), [(-1.0, 2.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0)])
def test_from_range_represents_zero_exactly(lo: float, hi: float, signed: bool) -> None:
    q = Uniform.from_range(lo, hi, 4, signed)
    assert float(q.fake_quantize(torch.zeros(()))) == 0.0
    ends = torch.tensor([lo, hi])
    assert (q.fake_quantize(ends) - ends).abs().max() <= q.scale * 0.5001
    assert q.lo <= int(q.zero_point) <= q.hi


def test_symmetric_covers_both_signs() -> None:
    q = Uniform.symmetric(torch.tensor([[1.0], [0.0], [7.0]]), 4)
    assert q.scale.shape == (3, 1)
    codes = q.encode(torch.tensor([[1.0, -1.0], [0.0, 0.0], [7.0, -3.0]]))
    assert codes.tolist() == [[7, -7], [0, 0], [7, -3]]
    assert float(q.mac_form().lsb[2, 0]) == 1.0


def test_scales_broadcast_per_channel() -> None:
    scale = torch.tensor([0.5, 0.25, 1.0])
    zero_point = torch.tensor([0, 3, 7])
    q = Uniform(scale, zero_point, 4)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for c in range(3):
        one = Uniform(scale[c], zero_point[c], 4)
        assert torch.equal(q.fake_quantize(x)[:, c], one.fake_quantize(x[:, c]))
        assert torch.equal(q.encode(x)[:, c], one.encode(x[:, c]))


def test_the_gradient_to_scale_is_that_of_learned_step_size() -> None:
    scale = torch.tensor(0.5, requires_grad=True)
    x = torch.tensor([0.6, -0.4, 10.0, -10.0])
    for i, expected in enumerate([1 - 1.2, -1 + 0.8, 7.0, -8.0]):
        q = Uniform(scale, ZERO, 4, signed=True)
        (grad,) = torch.autograd.grad(q.fake_quantize(x)[i], scale)
        assert float(grad) == pytest.approx(expected, abs=1e-6)


def test_with_parameters_keeps_the_codes() -> None:
    q = Uniform(torch.tensor(0.5), ZERO, 5, signed=True)
    other = q.with_parameters(torch.tensor(2.0), torch.tensor(1))
    assert (other.bits, other.signed, float(other.scale), int(other.zero_point)) == (5, True, 2, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Uniform(torch.ones(()), ZERO, 1), "bits must be in 2..16, not 1"),
        (lambda: Uniform(torch.ones(()), torch.tensor(0.5), 4), "must hold integers, not torch.f"),
        (lambda: Uniform(torch.ones(3), ZERO, 4).encoder(8), r"one scale is needed, not \[3\]"),
        (
            lambda: Uniform(torch.ones(2), torch.tensor([1, 2]), 4).mac_form(),
            r"one zero_point is needed, not \[1, 2\]",
        ),
    ],
)
def test_errors_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()
