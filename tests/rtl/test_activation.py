import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.activation import FUNCTIONS, ActivationSpec
from hwq.numerics.rounding import half_up_shift
from hwq.numerics.units import UNITS
from hwq.rtl.activation import Activation, ActivationCore
from hwq.rtl.catalog import TWINS
from hwq.testing import run_stream

CASES = TWINS["activation"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 500), UNITS["activation"].timing())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("in_frac", "in_bits"), [(8, 2), (12, 3), (8, 20)])
def test_ends_of_every_format(function: str, in_frac: int, in_bits: int) -> None:
    unit = Activation(ActivationSpec(function, in_frac, in_bits))
    lo, hi = unit.spec.minimum, unit.spec.maximum
    ends = np.array([lo, lo + 1, -1, 0, 1, hi - 1, hi])
    assert_array_equal(run_stream(unit, ends).outputs, unit.compute(ends))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_core_takes_every_format(function: str) -> None:
    """One netlist: all formats in turn."""
    core = ActivationCore(function, 10)
    inputs = np.arange(-512, 512)
    for frac in range(8, 13):
        spec = ActivationSpec(function, frac, 10)
        run = run_stream(core, inputs, settings=core.settings_of(spec))
        assert_array_equal(run.outputs, spec.compute(inputs))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_accumulator_fits(function: str) -> None:
    unit = Activation(ActivationSpec(function))
    c2, c1, c0 = unit.core.table.astype(np.int64)
    bits = unit.spec.curve.segment_bits
    u = np.arange(1 << bits)[:, None]
    first = half_up_shift(c2 * u, bits) + c1
    second = half_up_shift(first * u, bits) + c0
    limit = 1 << (unit.core.acc.width - 1)
    for values in (c2, c1, c0, first, second):
        assert -limit <= values.min() and values.max() < limit


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_output_fits_its_format(function: str) -> None:
    for in_frac, in_bits in ((8, 2), (12, 2), (8, 16), (12, 16)):
        spec = ActivationSpec(function, in_frac, in_bits)
        y = spec.compute(np.arange(spec.minimum, spec.maximum + 1))
        assert spec.out.min <= y.min() and y.max() <= spec.out.max
