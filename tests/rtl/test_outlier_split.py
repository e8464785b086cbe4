import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hwq.errors import SpecError
from hwq.numerics.outlier_split import OutlierSplitSpec
from hwq.numerics.units import UNITS
from hwq.rtl.catalog import TWINS
from hwq.rtl.outlier_split import OutlierSplit
from hwq.testing import run_stream

CASES = TWINS["outlier_split"].verified


@pytest.mark.parametrize("label", CASES)
def test_rtl_equals_numerics(label: str, check, payloads) -> None:
    unit = CASES[label]
    check(unit, payloads(unit, 300), UNITS["outlier_split"].timing())


def test_every_token_has_its_scale_in_every_image() -> None:
    mult, shift = np.array([1, 2, 3]) << 10, np.array([11, 11, 11])
    unit = OutlierSplit(OutlierSplitSpec(mult, shift, zero_point=10, threshold=100), channels=2)
    x = np.tile([2, -4, 2, -4, 2, 200], 2)
    wanted = [[11, 0], [8, 0], [12, 0], [6, 0], [13, 0], [10, 300]] * 2
    assert_array_equal(run_stream(unit, x).outputs, wanted)


def test_the_threshold_itself_is_no_outlier() -> None:
    unit = TWINS["outlier_split"].verified["one_scale"]
    edge = unit.spec.threshold
    x = np.array([edge - 1, edge, edge + 1, 1 - edge, -edge, -edge - 1])
    outputs = run_stream(unit, x).outputs
    assert_array_equal(outputs, unit.compute(x))
    assert_array_equal(outputs[:, 1] != 0, [False, False, True] * 2)


def test_a_token_has_channels() -> None:
    with pytest.raises(SpecError, match="channels must be at least 1, not 0"):
        OutlierSplit(TWINS["outlier_split"].default.spec, channels=0)
