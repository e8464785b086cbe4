import pytest
import torch

from hwq.quantizers.dynamic import Dynamic
from hwq.quantizers.uniform import Uniform

BASE = Uniform(torch.tensor(0.3), torch.tensor(5), 4)


def test_a_correction_scales_the_base() -> None:
    x = torch.randn(64, generator=torch.Generator().manual_seed(0))
    q = Dynamic(BASE, 1)
    other = Uniform(torch.tensor(0.6), torch.tensor(5), 4)
    one = torch.tensor(1.0)
    assert torch.equal(q.encode(x, one), other.encode(x))
    assert torch.equal(q.fake_quantize(x, one), other.fake_quantize(x))
    assert torch.equal(q.fake_quantize(x, one), q.decode(q.encode(x, one), one))
    assert torch.equal(q.fake_quantize(x), BASE.fake_quantize(x))
    assert (q.bits, q.signed, q.scale, q.zero_point) == (4, False, BASE.scale, BASE.zero_point)


def test_corrections_per_image_under_vmap() -> None:
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    corrections = torch.tensor([-0.5, 0.0, 0.7])
    q = Dynamic(BASE, 0)
    together = torch.vmap(q.fake_quantize)(x, corrections)
    for i in range(3):
        assert torch.equal(together[i], q.fake_quantize(x[i], corrections[i]))


def test_the_gradient_to_the_correction_is_the_scales_by_the_chain_rule() -> None:
    x = torch.linspace(-3, 6, 50)
    correction = torch.tensor(0.25, requires_grad=True)
    (grad,) = torch.autograd.grad(
        Dynamic(BASE, 0).fake_quantize(x, correction).square().sum(), correction
    )
    scale = (0.3 * 2.0 ** torch.tensor(0.25)).requires_grad_()
    (expected,) = torch.autograd.grad(
        Uniform(scale, BASE.zero_point, 4).fake_quantize(x).square().sum(), scale
    )
    ln2 = 0.6931471805599453
    assert float(grad) == pytest.approx(float(expected * scale.detach()) * ln2, rel=1e-4)


def test_with_parameters_keeps_the_index() -> None:
    q = Dynamic(BASE, 3).with_parameters(torch.tensor(1.0), torch.tensor(2))
    assert (q.index, float(q.scale), int(q.zero_point), q.bits) == (3, 1.0, 2, 4)
