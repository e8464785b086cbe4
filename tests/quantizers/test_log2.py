import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.quantizers.log2 import Log2
from hwq.quantizers.log_sqrt2 import LogSqrt2

QUANTIZERS = [
    *(Log2(4), Log2(3, 1), LogSqrt2(4), LogSqrt2(8)),
    *(Log2(8, 0, exponent) for exponent in (0, 5, 11)),
    *(LogSqrt2(bits, 2, exponent) for bits in (5, 8) for exponent in (1, 12)),
]


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
@pytest.mark.parametrize("frac", [8, 15, 16, 20, 30])
def test_codes_are_the_integer_units_on_every_16_bit_input(quantizer: Log2, frac: int) -> None:
    x = np.arange(1 << 16)
    codes, _ = quantizer.encoder(frac).compute(x)
    assert_array_equal(quantizer.encode(torch.from_numpy(x) * 2.0**-frac).numpy(), codes)
    if frac == 16:
        assert_array_equal(quantizer.spec.compute(x), codes)


def test_probabilities_round_to_16_bits_first() -> None:
    x = torch.tensor([1.0, 2.0, 2.0**-17, 2.0**-17 * 0.99, 0.0, -1.0])
    assert Log2(8).encode(x).tolist() == [0, 0, 255, 255, 255, 255]
    assert Log2(4).encode(torch.tensor([2.0**-14, 1.5 * 2.0**-16])).tolist() == [14, 15]


def test_underflow_is_zero_and_not_the_last_level() -> None:
    assert Log2(3).fake_quantize(torch.tensor([2.0**-6, 2.0**-7, 2.0**-12])).tolist() == (
        [2.0**-6, 0.0, 0.0]
    )


@pytest.mark.parametrize("kind", [Log2, LogSqrt2])
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("longest", [0, 5, 11])
def test_codes_of_zero_and_of_the_smallest_value(kind: type[Log2], bits: int, longest: int) -> None:
    """What is below the last level is exactly 0, and no code needs a longer shift."""
    quantizer = kind(bits, 0, longest)
    form = quantizer.mac_form()
    assert form.shift.max() <= longest and quantizer.encode(torch.zeros(1)).item() == 2**bits - 1
    last = quantizer.spec.max_level / quantizer.steps_per_octave
    step = 1 / quantizer.steps_per_octave
    kept, lost = (torch.tensor([2.0 ** -(last + step * part)]) for part in (0.4, 0.6))
    assert quantizer.fake_quantize(kept).item() > 0 == quantizer.fake_quantize(lost).item()


@pytest.mark.parametrize(("bits", "offset"), [(1, 0), (9, 0), (4, 16), (4, -1)])
def test_rejects_what_the_unit_rejects(bits: int, offset: int) -> None:
    with pytest.raises(SpecError, match=r"bits must be|offset must be"):
        Log2(bits, offset)
