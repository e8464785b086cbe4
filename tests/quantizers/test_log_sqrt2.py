import torch

from hwq.numerics.pe import SHIFT_PARITY
from hwq.quantizers.log_sqrt2 import LogSqrt2


def test_levels_of_three_bits() -> None:
    root = 181 / 128
    expected = [1.0, root / 2, 0.5, root / 4, 0.25, root / 8, 0.125, 0.0]
    assert LogSqrt2(3).decode(torch.arange(8)).tolist() == expected


def test_relative_error_is_a_quarter_octave() -> None:
    x = torch.linspace(2.0**-7, 1.0, 5000)
    ratio = LogSqrt2(4).fake_quantize(x) / x
    assert float(ratio.max()) < 2.0**0.25 * 1.0002
    assert float(ratio.min()) > 2.0**-0.25 * 0.9998


def test_odd_and_even_codes_go_to_their_own_accumulators() -> None:
    form = LogSqrt2(4).mac_form()
    assert (form.pe, form.plane_weights) == (SHIFT_PARITY, (128, 181))
    assert form.plane[:15].tolist() == [0, 1] * 7 + [0]
    assert form.shift[:15].tolist() == [7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
