from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwq.errors import SpecError
from hwq.quantizers.twin_uniform import GELU_MIN, TwinUniform


def test_packing_is_a_bijection() -> None:
    for q in (TwinUniform.softmax(5, 2), TwinUniform.gelu(6.0, 5, 3)):
        form = q.mac_form()
        seen = set(zip(form.significand.tolist(), form.shift.tolist(), strict=True))
        assert len(seen) == 32


def test_softmax_scales_are_powers_of_two() -> None:
    q = TwinUniform.softmax(8, 4)
    assert float(q.scale) == 2.0**-11
    x = torch.tensor([0.0, 2.0**-11, 127 * 2.0**-11, 128 * 2.0**-11, 0.5, 1.0])
    assert q.encode(x).tolist() == [0, 1, 127, 128 + 8, 128 + 64, 255]
    assert q.fake_quantize(x).tolist() == [0, 2.0**-11, 127 * 2.0**-11, 0.0625, 0.5, 127 / 128]


@pytest.mark.parametrize(("max_value", "m"), [(6.0, 5), (1.0, 8), (0.3, 0)])
def test_gelu_negatives_never_clip(max_value: float, m: int) -> None:
    q = TwinUniform.gelu(max_value, 8, m)
    x = torch.linspace(GELU_MIN, max_value, 4001)
    error = (q.fake_quantize(x) - x).abs()
    assert float(error[x < 0].max()) <= float(q.scale) * 0.501
    assert float(error[x >= 0].max()) <= float(q.scale) * 2**m * 0.501
    assert torch.equal(q.encode(x) >= 128, x >= 0)


def test_twin_beats_both_of_its_ranges_alone() -> None:
    rows = torch.randn(64, 197, generator=torch.Generator().manual_seed(0)) * 2.2
    p = rows.softmax(-1)

    def error(m: int) -> float:
        return float((TwinUniform.softmax(6, m).fake_quantize(p) - p).square().mean())

    assert error(4) < 0.5 * error(0)


def test_the_gradient_to_scale() -> None:
    scale = torch.tensor(0.5, requires_grad=True)
    q = TwinUniform(scale, 2, 4, "gelu")  # values -3.5..0 and 0..14
    x = torch.tensor([-0.6, 3.0, 99.0, -99.0])
    for i, expected in enumerate([-1 + 1.2, 8 - 6.0, 28.0, -7.0]):
        (grad,) = torch.autograd.grad(q.fake_quantize(x)[i], scale)
        assert float(grad) == pytest.approx(expected, abs=1e-6)


def test_entries_fit_16_bits_at_the_largest_distance() -> None:
    values = TwinUniform.gelu(6.0, 8, 8).mac_form().value_table()
    assert np.abs(values).max() == 127 << 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TwinUniform.softmax(8, 9), r"m must keep 127 << m within 2\*\*15, not 9"),
        (lambda: TwinUniform(torch.ones(2), 1, 4), r"one scale is needed, not \[2\]"),
        (lambda: TwinUniform(torch.ones(()), 1, 4, "relu"), "form must be one of"),
    ],
)
def test_errors_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()
