import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.numerics.activation import ActivationSpec
from hwq.numerics.shift_log2 import ShiftLog2Spec
from hwq.numerics.twin_uniform import TwinUniformSpec
from hwq.numerics.uniform import UniformSpec
from hwq.runtime.fused.lookup import code_table, every_value, look_up, look_up_codes

GELU = ActivationSpec("gelu", 12, 16)
ENCODERS = {
    "uniform": UniformSpec(40000, 22, 9, 6),
    "log": ShiftLog2Spec(700, 35515, 12, 4, 2),
    "twin": TwinUniformSpec(49618, 21, 2, 6, "gelu"),
    "none saturates": UniformSpec(32768, 23, 128, 8),
    "all saturate": UniformSpec(0, 1, -9, 6),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("signed", [True, False])
def test_every_value_and_every_saturation(name, signed):
    unit = ENCODERS[name]
    table = code_table(unit.compute, signed)
    values = every_value(signed).reshape(256, 256)
    out = np.empty(values.shape, np.uint8)
    codes, saturated = unit.compute(values)
    assert look_up_codes(values, table, out) == saturated
    assert_array_equal(out, codes.astype(np.uint8))
    for row in values[::17]:
        assert look_up_codes(row[np.newaxis], table, out[:1]) == unit.compute(row)[1]


def test_what_saturates_need_not_lie_together():
    """GELU dips below zero: a range that starts at 0 is left in the middle, and at the end."""
    unit = UniformSpec(40000, 22, 0, 6)
    table = code_table(lambda x: unit.compute(GELU.compute(x)), signed=True)
    assert len(table[1]) == 2
    values = every_value(True)[np.newaxis]
    out = np.empty(values.shape, np.uint8)
    codes, saturated = unit.compute(GELU.compute(values))
    assert look_up_codes(values, table, out) == saturated
    assert_array_equal(out, codes)


def test_look_up_in_place():
    values = every_value(True).reshape(16, 4096).copy()
    table = GELU.compute(every_value(True)).astype(np.int16)
    expected = GELU.compute(values)
    untouched = values[15].copy()
    look_up(values, table, 15)
    assert_array_equal(values[:15], expected[:15])
    assert_array_equal(values[15], untouched)
