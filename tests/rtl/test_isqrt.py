import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.isqrt import IsqrtSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.isqrt import Isqrt
from hwq.testing import run_stream

CASES = TWINS["isqrt"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 500), UNITS["isqrt"].timing(unit.spec.in_bits))


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 62])
def test_every_width_works(bits: int) -> None:
    unit = Isqrt(IsqrtSpec(bits))
    inputs = np.arange(min(1 << bits, 256))
    run = run_stream(unit, inputs if bits < 62 else (1 << 62) - 1 - inputs)
    assert_array_equal(run.outputs, unit.compute(inputs if bits < 62 else (1 << 62) - 1 - inputs))


def test_squares_and_their_neighbours() -> None:
    unit = Isqrt(IsqrtSpec(36))
    roots = np.random.default_rng(0).integers(1, 1 << 18, 200)
    inputs = np.concatenate([roots**2 - 1, roots**2, np.minimum(roots**2 + 2 * roots, 2**36 - 1)])
    assert_array_equal(run_stream(unit, inputs).outputs, unit.compute(inputs))
